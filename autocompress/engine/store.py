"""What was measured, on disk, so that a killed search goes on: an append-only file of keys and values.

Every line is written whole and flushed to the disk before the search goes on. A line cut short by a kill is dropped
when the file is opened again. Locks are the kernel's own, so that none outlives its process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, TypeVar

import optuna
from optuna.storages.journal import JournalFileBackend

from autocompress.disk import told_when_full
from autocompress.errors import DiskFullError, RunError

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Store:
    """Keys to JSON values in one file.

    shared   stores that outlive this one, by context: the second part of a key (``kernel/CONTEXT/...``).
    ``measured`` and ``reused`` count what `memo` did in this process, ``seconds`` is what the measuring took.
    Raises RunError when a line of the file is damaged.
    """

    def __init__(self, path: Path, shared: Mapping[str, Store] | None = None) -> None:
        self.path = path
        self.measured = 0
        self.reused = 0
        self.seconds = 0.0
        self._shared = dict(shared or {})
        self._values: dict[str, Any] = {}
        lines = mend_tail(path).decode("utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self._values[record["key"]] = record["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{path}, line {number} is damaged ({error}); delete that line or the file.") from error

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any:
        return self._values[key]

    def count(self, prefix: str) -> int:
        """How many keys begin with ``prefix``."""
        return sum(key.startswith(prefix) for key in self._values)

    def put(self, key: str, value: Any) -> None:
        """Write one value; it is on the disk when this returns. Raises DiskFullError, with the file as it was."""
        line = json.dumps({"key": key, "value": value}, separators=(",", ":")) + "\n"
        with told_when_full(self.path), self.path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _append_whole(file, line.encode("utf-8"))
        self._values[key] = value

    def memo(self, key: str, measure: Callable[[], Any]) -> Any:
        """The stored value of ``key``, here or shared; measured and stored first if it is in neither."""
        if key in self._values:
            self.reused += 1
            return self._values[key]
        shared = self._shared.get(_context(key))
        if shared is None or key not in shared:
            return self.renew(key, measure)
        self.reused += 1
        self.put(key, shared.get(key))
        return self._values[key]

    def renew(self, key: str, measure: Callable[[], Any]) -> Any:
        """Measure and store a value, whatever is known of it."""
        value = self.timed(measure)
        self.measured += 1
        self.put(key, value)
        self._share(key, value)
        return self._values[key]

    def _share(self, key: str, value: Any) -> None:
        """Tell the store that outlives this one; a search does not fail for what only the next one would gain."""
        context = _context(key)
        try:
            if context in self._shared:
                self._shared[context].put(key, value)
        except (OSError, DiskFullError) as error:
            logger.warning("the cache is not written any more: %s", error)
            del self._shared[context]

    def timed(self, measure: Callable[[], T]) -> T:
        """What is measured without being stored counts in ``seconds`` as well."""
        started = time.monotonic()
        try:
            return measure()
        finally:
            self.seconds += time.monotonic() - started


def _append_whole(file: RawIOBase, line: bytes) -> None:
    """Append a line and flush it to the disk, or leave the file as it was."""
    end = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _context(key: str) -> str:
    return key.partition("/")[2].partition("/")[0]


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


def mend_tail(path: Path) -> bytes:
    """Cut a last line that does not end in a newline; what is left."""
    if not path.exists():
        return b""
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another process may be in the middle of a line
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            logger.warning("%s: dropped a last line that was cut short (%d bytes)", path, len(data) - end)
            file.truncate(end)
    return data[:end]
