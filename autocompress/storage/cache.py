"""What was measured on this machine, kept by content for the next search; a run folder takes from it and adds to it.

One file per context: the digest of everything that its values depend on, the code that measured them included. So
nothing in it can be out of date; it can only be of no more use.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from autocompress.basics.read_file import read_whole
from autocompress.errors import DiskFullError, RunError, UsageError
from autocompress.storage.lines import unseal
from autocompress.storage.store import Store

logger = logging.getLogger(__name__)

VARIABLE = "AUTOCOMPRESS_CACHE"
ABOUT = "about"


@dataclass(frozen=True)
class Entry:
    """One file of the cache. ``used`` is the time of its last use, in seconds since 1970."""

    name: str
    about: str
    values: int
    bytes: int
    used: float

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def cache_folder() -> Path | None:
    """``AUTOCOMPRESS_CACHE``, else a folder of the user's cache; None when the variable is set to nothing."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given).expanduser() if given else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autocompress"


def open_cache(contexts: Mapping[str, str]) -> dict[str, Store]:
    """Stores by context, for a `Store` to share; ``contexts`` maps each to what it is about, in words.

    A cache that cannot be written or read is not used; the log says why.
    """
    folder = cache_folder()
    if folder is None:
        return {}
    found: dict[str, Store] = {}
    for context, about in contexts.items():
        path = folder / f"{context}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_owner(folder)
            store = Store(path)
            if ABOUT not in store:
                store.put(ABOUT, about)
            path.touch()
        except (OSError, RunError, DiskFullError) as error:
            logger.warning("the cache is not used: %s", error)
            continue
        found[context] = store
    return found


def _check_owner(folder: Path) -> None:
    """Raise RunError for a folder into which another user may write: what it holds would steer our searches."""
    found = folder.stat()
    if found.st_uid not in (os.getuid(), 0) or found.st_mode & stat.S_IWOTH:
        raise RunError(
            f"{str(folder)!r} belongs to another user or is writable for all; set {VARIABLE} to a folder of your own"
        )


def entries(names: Iterable[str] = (), unused: float = 0.0) -> list[Entry]:
    """What the cache holds, the latest used first: of these names (none: all), unused for so many seconds.

    Raises UsageError for a name that is not there.
    """
    known, wanted, now = [_entry(path) for path in _files()], set(names), time.time()
    absent = sorted(wanted - {entry.name for entry in known})
    if absent:
        raise UsageError(f"the cache holds no {absent[0]!r}; `autocompress cache` lists what it holds.")
    chosen = [entry for entry in known if (not wanted or entry.name in wanted) and now - entry.used >= unused]
    return sorted(chosen, key=lambda entry: -entry.used)


def prune(gone: Iterable[Entry]) -> None:
    """Delete entries. A search that is running keeps what it has read."""
    names = {entry.name for entry in gone}
    for path in _files():
        if path.stem in names:
            path.unlink(missing_ok=True)


def _entry(path: Path) -> Entry:
    about, lines, found = "unreadable", [], path.lstat()
    with suppress(ValueError, LookupError, TypeError, RunError):
        lines = read_whole(path, RunError, expected="an entry of the cache", largest=sys.maxsize).splitlines()
        about = str(unseal(lines[0])["value"])
    return Entry(path.stem, about, max(0, len(lines) - 1), found.st_size, found.st_mtime)


def _files() -> list[Path]:
    folder = cache_folder()
    return sorted(folder.glob("*.jsonl")) if folder is not None and folder.is_dir() else []
