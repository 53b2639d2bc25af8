"""What was measured, on disk, so that a killed search goes on: an append-only file of keys and values.

Every line is written whole and flushed to the disk before the search goes on. A line cut short by a kill is dropped
when the file is opened again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from autocompress.errors import DiskFullError, RunError
from autocompress.storage.lines import append_lines, read_lines

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
        for number, record in enumerate(read_lines(path, kept="the rest is measured again"), 1):
            if record.keys() != {"key", "value"} or not isinstance(record["key"], str):
                raise RunError(f"{path}, line {number} is damaged (no key and value); delete that line or the file.")
            self._values[record["key"]] = record["value"]

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
        append_lines(self.path, [{"key": key, "value": value}])
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


def _context(key: str) -> str:
    return key.partition("/")[2].partition("/")[0]
