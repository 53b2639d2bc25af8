"""Names: near misses for error messages, and glob patterns over layer names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

LONGEST = 100
"""Characters of a name that are shown."""


def near_misses(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names that look most like ``name``, best first."""
    return get_close_matches(name, sorted(known), n=limit, cutoff=0.4)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line: the unknown name, what was probably meant, and everything that is known."""
    names = sorted(known)
    close = near_misses(name, names)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    shown = repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}...")
    return f"unknown {what} {shown}.{hint} Known: {', '.join(names) or 'none'}."


def matches(pattern: str, name: str) -> bool:
    """Shell-style match of a whole layer name; ``*`` also crosses dots."""
    return fnmatchcase(name, pattern)
