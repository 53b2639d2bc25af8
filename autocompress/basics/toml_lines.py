"""TOML for people: the parsed file, and the line where a key stands, so that an error can point at it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autocompress.basics.read_file import read_text
from autocompress.basics.schema import check_limits
from autocompress.errors import SpaceError, UsageError

KeyPath = tuple[str | int, ...]
LARGEST = 1 << 20
"""Bytes of a TOML file that somebody wrote."""
_AT = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


def read_toml(path: Path, error: type[UsageError] = SpaceError) -> tuple[dict[str, Any], str]:
    """The tables of a TOML file and its text, for `line_of`.

    Raises ``error`` when the file is missing, is not UTF-8 or is not TOML; the message names file and line.
    """
    text = read_text(path, error, expected="a TOML file", largest=LARGEST).replace("\r\n", "\n")
    try:
        tables = tomllib.loads(text)
        check_limits(tables)
    except RecursionError:
        raise error(f"{path}: nested too deep for a file of settings; write it flat.") from None
    except tomllib.TOMLDecodeError as broken:
        found = _AT.search(str(broken))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        reason = _AT.sub("", str(broken)).strip()
        raise error(f"{path}, line {line}: not valid TOML ({reason}); mend this line.") from broken
    except ValueError as refused:  # more digits than Python reads, or what `check_limits` found
        raise error(f"{path}: {refused}; mend this value.") from refused
    return tables, text


def line_of(text: str, *keys: str | int) -> int:
    """The line (from 1) where ``keys`` is set in a valid TOML text; an int is an index into ``[[tables]]``.

    A key that the text does not set has the line of its nearest parent that it does set, or 1.

    >>> line_of('[search]\\nbudget = "20ms"\\n', "search", "budget")
    2
    """
    best, depth = 1, 0
    for line, path in _paths(text):
        shared = len(path) if keys[: len(path)] == path else 0
        if shared > depth:
            best, depth = line, shared
    return best


def _paths(text: str) -> Iterator[tuple[int, KeyPath]]:
    """Every path that the text sets, with the line where its statement begins."""
    table: KeyPath = ()
    seen: dict[KeyPath, int] = {}
    for line, statement, content in _statements(text):
        if not statement.lstrip().startswith("["):
            yield from ((line, table + path) for path in _walk(content))
            continue
        table = ()
        names = _header(content)
        for position, name in enumerate(names):
            table += (name,)
            yield line, table
            last = position == len(names) - 1
            if last and statement.lstrip().startswith("[["):
                seen[table] = seen.get(table, -1) + 1
            if table in seen:  # a table inside the latest element of an array of tables
                table += (seen[table],)
                yield line, table


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Headers and assignments with their first line: lines are joined until the parser accepts them."""
    pending, start = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not pending:
            start = number
        pending += line
        try:
            content = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue  # the middle of a multi-line string or array
        if content:
            yield start, pending, content
        pending = ""


def _header(content: Mapping[str, Any]) -> list[str]:
    """The names of ``[a.b]`` or ``[[a.b]]``: an otherwise empty document with one branch."""
    names: list[str] = []
    inner: Any = content
    while inner:
        if isinstance(inner, list):
            inner = inner[0]
            continue
        name, inner = next(iter(inner.items()))
        names.append(name)
    return names


def _walk(content: Any, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path in a parsed value, parents first."""
    if prefix:
        yield prefix
    if isinstance(content, Mapping):
        for name, inner in content.items():
            yield from _walk(inner, (*prefix, name))
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            yield from _walk(inner, (*prefix, index))
