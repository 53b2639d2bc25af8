"""What was measured, on disk, so that a killed search goes on: an append-only file of keys and values.

Every line is written whole and flushed to the disk before the search goes on. A line cut short by a kill is dropped
when the file is opened again. Locks are the kernel's own, so that none outlives its process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages.journal import JournalFileBackend

from autocompress.errors import RunError

logger = logging.getLogger(__name__)


class Store:
    """Keys to JSON values in one file. ``measured`` and ``reused`` count what `memo` did in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.measured = 0
        self.reused = 0
        mend_tail(path)
        self._values: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self._values[record["key"]] = record["value"]

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> Any:
        return self._values[key]

    def count(self, prefix: str) -> int:
        """How many keys begin with ``prefix``."""
        return sum(key.startswith(prefix) for key in self._values)

    def put(self, key: str, value: Any) -> None:
        """Write one value; it is on the disk when this returns."""
        self._values[key] = value
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def memo(self, key: str, measure: Callable[[], Any]) -> Any:
        """The stored value of ``key``; measured and stored first if it is not there."""
        if key in self._values:
            self.reused += 1
            return self._values[key]
        value = measure()
        self.measured += 1
        self.put(key, value)
        return value


class RunLock:
    """One search at a time in a run folder. Raises RunError when another process holds it."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RunError(
                f"another search is running in {str(folder)!r}; wait for it or give another --out."
            ) from None

    def release(self) -> None:
        self._file.close()


class _KernelLock:
    """Optuna's journal lock on ``flock``: a killed process leaves nothing to wait for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def journal_storage(path: Path) -> optuna.storages.JournalStorage:
    """Optuna storage in one file; what a kill left half-written is dropped first."""
    mend_tail(path)
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), _KernelLock(path.with_suffix(".lock"))))


def mend_tail(path: Path) -> None:
    """Cut a last line that does not end in a newline."""
    if not path.exists():
        return
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        logger.warning("%s: dropped a last line that was cut short (%d bytes)", path, len(data) - end)
        with path.open("r+b") as file:
            file.truncate(end)
