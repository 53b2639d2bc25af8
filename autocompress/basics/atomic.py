"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil

from autocompress.basics.disk import raise_when_full, told_when_full
from autocompress.errors import RunError

logger = logging.getLogger(__name__)


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write under a temporary name and rename: a reader sees the old file or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def new_folder(destination: Path, *, marker: str) -> Iterator[Path]:
    """A temporary folder beside the destination, that takes its place when the block ends without an error.

    Everything is on the disk before it gets its name. An older folder is replaced only when it holds the file
    ``marker``, or nothing. Raises RunError when it cannot be written or when something else is in the way.
    """
    destination = Path(os.path.abspath(destination))
    _check_free(destination, marker)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _sweep(destination)
        temporary.mkdir()
        with told_when_full(destination):  # the block may raise any library's error for it
            yield temporary
        _sync(temporary)
        _take_place(temporary, destination)
    except OSError as error:
        raise_when_full(error, destination)
        raise RunError(
            f"cannot write {str(destination)!r}: {error.strerror or error}; give an output folder that is writable."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(destination: Path, marker: str) -> None:
    try:
        occupied = destination.exists() and (not destination.is_dir() or any(destination.iterdir()))
        if occupied and not (destination / marker).is_file():
            raise RunError(
                f"{str(destination)!r} holds something else: expected a new folder, an empty one, or one with "
                f"{marker}; give another output folder."
            )
    except OSError as error:
        raise RunError(f"cannot use {str(destination)!r} as output: {error.strerror or error}.") from error


def _take_place(temporary: Path, destination: Path) -> None:
    if not destination.exists() or not any(destination.iterdir()):
        os.rename(temporary, destination)  # onto an empty folder this is still one step
    else:
        old = temporary.with_suffix(".old")
        os.rename(destination, old)
        os.rename(temporary, destination)
        shutil.rmtree(old, ignore_errors=True)
    _sync_entry(destination.parent)


def _sweep(destination: Path) -> None:
    """Remove what killed writers of the same destination left behind."""
    pattern = re.compile(rf"\.{re.escape(destination.name)}\.(\d+)\.[0-9a-f]{{8}}\.(tmp|old)")
    for path in destination.parent.iterdir():
        found = pattern.fullmatch(path.name)
        if found and not psutil.pid_exists(int(found[1])):
            logger.info("removing %s, left by a process that died", path)
            shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync_entry(path)
    _sync_entry(folder)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
