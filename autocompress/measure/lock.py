"""One measurement at a time per device, across all processes of a user."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.basics.disk import raise_when_full
from autocompress.errors import RunError

logger = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds of waiting before a line is logged."""

_held: dict[str, int] = {}
_inside = threading.RLock()


@contextmanager
def device_lock(device: str) -> Iterator[None]:
    """Hold the device while the block runs; waits for other processes, and says so after `PATIENCE` seconds.

    Re-entrant within a process. The kernel releases it when the holder dies, however it dies.
    Raises RunError when the lock file cannot be opened.
    """
    with _inside:
        if _held.get(device, 0):
            _held[device] += 1
            try:
                yield
            finally:
                _held[device] -= 1
            return
        descriptor = _open(lock_file(device))
        try:
            _wait(descriptor, device)
            _held[device] = 1
            yield
        finally:
            _held[device] = 0
            os.close(descriptor)


def lock_file(device: str) -> Path:
    """The lock's path, in the user's runtime folder or else the folder for temporary files."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if not folder or not os.access(folder, os.W_OK):
        folder = tempfile.gettempdir()
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(folder) / f"autocompress-{user}-{device.replace(':', '-')}.lock"


def _open(path: Path) -> int:
    try:
        # No symbolic links: the folder for temporary files is shared with other users.
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise_when_full(error, path)
        raise RunError(
            f"cannot open the device lock {str(path)!r}: {error.strerror or error}; set TMPDIR to a writable folder."
        ) from error


def _wait(descriptor: int, device: str) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: only the threads of this process are kept apart
        return
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return
    logger.warning("waiting for another autocompress process that is measuring on %s", device)
    started = time.monotonic()
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    logger.info("waited %.0f s for %s", time.monotonic() - started + PATIENCE, device)
