"""`python -m tests.faults [WORD ...]`: every fault (or those with a word in their name) and what became of it.

Ends with code 1 when a search was lost or hung.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.faults import disks, plugins, processes
from tests.faults.scene import Row, Scene, make_shared

AT_ONCE = 2
SKIPPED = "skipped: "
IN_SESSION = "if in_session(): "
Fault = Callable[[Scene], tuple[bool, str] | list[Row]]
FAULTS: dict[str, Fault] = {
    "disk full: the run folder, again and again": disks.run_folder,
    "disk full: the candidate's weights": partial(disks.file_limit, kilobytes=60, what="candidates"),
    "disk full: the first figures": partial(disks.file_limit, kilobytes=1, what="measurements.jsonl"),
    "disk full: the cache": disks.cache,
    "disk full: the temporary folder": disks.temporary,
    "plugin: techniques": plugins.techniques,
    "plugin: every option fails": plugins.nothing_left,
    "plugin: listeners raise and leave": plugins.listener,
    "plugin: a loader leaves": plugins.loader,
    "plugin: missing in bench": plugins.missing_in_bench,
    "plugin: passed in from Python": plugins.from_python,
    "session: crashes once": partial(
        plugins.session,
        action=IN_SESSION + "first_time('/tmp/note-%d' % os.getppid()) and os.abort()",
        words="trying once more",
        codes=(0,),
    ),
    "session: always crashes": partial(
        plugins.session, action=IN_SESSION + "os.abort()", words="was ended by SIGABRT", codes=(3,)
    ),
    "session: hangs": partial(
        plugins.session, action=IN_SESSION + "time.sleep(600)", words="did not answer within 40 s", codes=(3,)
    ),
    "session: leaves": partial(plugins.session, action=IN_SESSION + "sys.exit(0)", words="SystemExit", codes=(3,)),
    "session: killed from outside": processes.killed_session,
    "process: kill -9": partial(processes.stopped, number=signal.SIGKILL, code=-signal.SIGKILL),
    "process: SIGTERM": partial(processes.stopped, number=signal.SIGTERM, code=143),
    "process: Ctrl-C": partial(processes.stopped, number=signal.SIGINT, code=130),
    "clock: jumps by days": processes.jumping_clock,
    "two searches: one device, one cache": processes.two_searches,
    "two searches: one run folder": processes.one_folder,
}


def main(words: list[str]) -> int:
    """Try the faults, two at a time; print a row each as they end."""
    chosen = {name: fault for name, fault in FAULTS.items() if not words or any(word in name for word in words)}
    with tempfile.TemporaryDirectory(prefix="autocompress-faults-") as root:
        shared = Path(root) / "shared"
        shared.mkdir()
        make_shared(shared)
        scenes = {name: Scene(Path(root) / f"scene-{at}", shared) for at, name in enumerate(chosen)}

        def attempt(name: str) -> list[Row]:
            started = time.monotonic()
            try:
                found = chosen[name](scenes[name])
            except disks.SkippedError as reason:
                found = True, f"{SKIPPED}{reason}"
            rows = found if isinstance(found, list) else [(name, *found)]
            for row, good, words in rows:
                print(f"{'ok  ' if good else 'LOST'} {row:44} {time.monotonic() - started:4.0f} s  {words}", flush=True)
            return rows

        with ThreadPoolExecutor(AT_ONCE) as pool:
            rows = [row for found in pool.map(attempt, chosen) for row in found]
    lost = sum(not good for _, good, _ in rows)
    hung = sum(scene.hung for scene in scenes.values())
    skipped = sum(words.startswith(SKIPPED) for _, _, words in rows)
    print(f"{len(rows)} faults injected, {skipped} of them skipped; searches lost {lost}, hangs {hung}")
    return 1 if lost or hung else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
