"""Processes that die, clocks that jump, and searches that meet."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil

from tests.faults.scene import Scene, wait_for
from tests.faults.strangers import CLOCK


def stopped(scene: Scene, number: int, code: int) -> tuple[bool, str]:
    """A signal in the middle of a search; then the same command."""
    process = scene.start(*scene.search())
    wait_for(process, scene.here / "run" / "journal.log", 400)
    os.kill(process.pid, number)
    ran = scene.finish(process)
    kept = number == signal.SIGKILL or ("what was measured is kept" in ran.stderr and "to go on: " in ran.stderr)
    again = scene.run(*scene.search())
    good = ran.code == code and kept and again.code == 0 and "Traceback" not in ran.stderr
    return good, f"code {ran.code}, {'work kept' if kept else ran.stderr[-200:]}; the same command: {again.code}"


def killed_session(scene: Scene) -> tuple[bool, str]:
    """Somebody kills the first measuring session: told, tried once more."""
    process = scene.start(*scene.search())
    killed: list[int] = []

    def kill() -> None:
        while process.poll() is None and not killed:
            for child in psutil.Process(process.pid).children():
                if any("artifact.session" in word for word in child.cmdline()):
                    time.sleep(1.0)
                    child.kill()
                    killed.append(child.pid)
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    ran = scene.finish(process)
    thread.join()
    said = ran.said("trying once more")
    return ran.code == 0 and bool(killed) and "SIGKILL" in said, f"code {ran.code}; {said[:110]}"


def jumping_clock(scene: Scene) -> tuple[bool, str]:
    """The wall clock jumps by days, here and in the sessions; the time limit still holds."""
    (scene.folder / "site" / "sitecustomize.py").write_text(CLOCK)
    ran = scene.run(*scene.search("--time", "20s"))
    return ran.code == 0, f"code {ran.code}; {ran.said('stopped:')[:80]}"


def two_searches(scene: Scene) -> tuple[bool, str]:
    """Two searches at once on one device and one cache, each in its own folder."""
    scene.env["AUTOCOMPRESS_CACHE"] = str(scene.folder / "cache")
    both = [scene.start(*scene.search(out=name)) for name in ("one", "two")]
    ran = [scene.finish(process) for process in both]
    waited = any(one.said("waiting for another autocompress process") for one in ran)
    again = scene.run("cache")
    good = [one.code for one in ran] == [0, 0] and again.code == 0
    return good, f"codes {ran[0].code} and {ran[1].code}; waiting {'was told' if waited else 'was short'}"


def one_folder(scene: Scene) -> tuple[bool, str]:
    """A second search in a run folder that is in use is refused; the first one goes on."""
    first = scene.start(*scene.search())
    wait_for(first, scene.here / "run" / "run.json")
    second = scene.run(*scene.search())
    ran = scene.finish(first)
    told = len(second.errors) == 1 and "another search is running" in second.errors[0]
    return second.code == 2 and told and ran.code == 0, f"codes {ran.code} and {second.code}; {second.errors[:1]}"
