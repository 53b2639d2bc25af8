"""Disks that fill up: the run folder's, the cache's, the one for temporary files; and files that may not grow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scene import Ran, Scene

STEPS = (0, 24, 96, 200, 500, 900)
"""Kilobytes of room, one attempt after the other: the run folder, the first figures, the trials, the artifact."""


class SkippedError(Exception):
    """The fault cannot be injected here."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SkippedError(f"no disk can be mounted here ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def leave_room(disk: Path, kilobytes: int) -> None:
    """Fill a disk up to so much room."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    usage = subprocess.run(["df", "--output=avail", "-k", str(disk)], capture_output=True, text=True, check=True)
    free = int(usage.stdout.split()[1])
    ballast.write_bytes(bytes(max(0, free - kilobytes) * 1024))


def is_full(ran: Ran) -> bool:
    """Whether a command ended as on a full disk: code 1 and one line."""
    return ran.code == 1 and len(ran.errors) == 1 and "disk full" in ran.errors[0] and "Traceback" not in ran.stderr


def leftovers(folder: Path) -> list[str]:
    """Files that were half-written under a temporary name."""
    return [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".old"))]


def run_folder(scene: Scene) -> tuple[bool, str]:
    """The disk fills up again and again; each time there is more room, and the last time enough."""
    with small_disk(scene.folder / "disk", "16m") as disk:
        stops = 0
        for room in STEPS:
            leave_room(disk, room)
            ran = scene.run(*scene.search(out=disk / "run"))
            if ran.code == 0:
                break
            if not is_full(ran) or leftovers(disk):
                return False, f"with {room} KB: code {ran.code}, {ran.errors or ran.stderr[-300:]} {leftovers(disk)}"
            stops += 1
        (disk / "ballast").unlink()
        ran = scene.run(*scene.search(out=disk / "run"))
        return (
            ran.code == 0 and stops >= 3,
            f"{stops} times 'disk full', code 1; with room the same command: {ran.code}",
        )


def file_limit(scene: Scene, kilobytes: int, what: str) -> tuple[bool, str]:
    """No file may grow beyond a size: the weights of the candidate, or what was measured, do not fit."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, before[1]))
    try:
        process = scene.start(*scene.search())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    first = scene.finish(process)
    at = first.errors[0].partition("cannot write ")[2].split()[0] if first.errors else ""
    if not is_full(first) or what not in at or leftovers(scene.here):
        return False, f"code {first.code}, {first.errors or first.stderr[-300:]} {leftovers(scene.here)}"
    again = scene.run(*scene.search())
    return again.code == 0, f"{what}: 'disk full', code 1; with room the same command: {again.code}"


def cache(scene: Scene) -> tuple[bool, str]:
    """The disk of the cache is full: the search does without it, and says so."""
    with small_disk(scene.folder / "cache", "64k") as disk:
        leave_room(disk, 12)
        scene.env["AUTOCOMPRESS_CACHE"] = str(disk)
        ran = scene.run(*scene.search())
        said = ran.said("the cache is not")
        return ran.code == 0 and bool(said), f"code {ran.code}; {said[:90]}"


def temporary(scene: Scene) -> tuple[bool, str]:
    """The folder for temporary files is full: told with its name, or not needed; then the same command goes on."""
    with small_disk(scene.folder / "tmp", "64k") as disk:
        leave_room(disk, 0)
        ran = scene.run(*scene.search())
        if ran.code == 0:
            return True, "code 0: another folder for temporary files was found"
        told = is_full(ran)
        (disk / "ballast").unlink()
    again = scene.run(*scene.search())
    return told and again.code == 0, f"code {ran.code}: {(ran.errors or [''])[0][:90]}; with room: {again.code}"
