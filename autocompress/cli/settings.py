"""autocompress.toml: the options of a search, kept beside the work they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autocompress.basics.matching import unknown
from autocompress.basics.toml_lines import line_of, read_toml
from autocompress.errors import UsageError

FILE = "autocompress.toml"
TABLE = "search"


@dataclass(frozen=True)
class Settings:
    """What the table ``[search]`` says, as it is written there; None where it says nothing.

    file   the file that was read, or None when there is none. Trust in a model's code or pickle is not a setting:
           a folder from elsewhere must not be able to grant it.
    """

    file: Path | None = None
    model: str | None = None
    budget: tuple[str, ...] | None = None
    data: str | None = None
    column: str | None = None
    labels: str | None = None
    group: str | None = None
    space: str | None = None
    task: str | None = None
    evaluator: str | None = None
    runtime: str | None = None
    device: str | None = None
    batch: int | None = None
    sequence: int | None = None
    threads: int | None = None
    sampler: str | None = None
    seed: int | None = None
    trials: int | None = None
    time: str | None = None
    sessions: int | None = None
    out: str | None = None


WHOLE = ("batch", "sequence", "threads", "seed", "trials", "sessions")
KEYS = tuple(field.name for field in fields(Settings) if field.name != "file")


def read_settings(folder: Path) -> Settings:
    """The settings in ``folder``; all None without a file. Paths in it are relative to the folder, as written.

    Raises UsageError, with file and line, on an unknown key or a value of a wrong type.
    """
    path = folder / FILE
    if not path.is_file():
        return Settings()
    content, text = read_toml(path, UsageError)
    for name in content:
        if name != TABLE:
            raise UsageError(f"{path}, line {line_of(text, name)}: {unknown('table', name, [TABLE])}")
    table = content.get(TABLE, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{path}, line {line_of(text, TABLE)}: {TABLE} is {_say(table)}: expected a table, [{TABLE}].")
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}, line {line_of(text, TABLE, key)}"
        if key not in KEYS:
            raise UsageError(f"{where}: {unknown('key', key, KEYS)}")
        values[key] = _checked(key, value, where)
    return Settings(file=path, **values)


def _checked(key: str, value: Any, where: str) -> Any:
    if key == "budget":
        texts = value if isinstance(value, list) else [value]
        if texts and all(isinstance(one, str) for one in texts):
            return tuple(texts)
        expected = 'a string such as "20ms", or a list of strings'
    elif key in WHOLE:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        expected = "a whole number"
    else:
        if isinstance(value, str):
            return value
        expected = "a string" + (' such as "5m"' if key == "time" else "")
    raise UsageError(f"{where}: {key} is {_say(value)}: expected {expected}.")


def _say(value: Any) -> str:
    """A value with its type, in TOML's words."""
    names = {str: "string", int: "integer", float: "float", bool: "boolean", list: "array", dict: "table"}
    kind = names.get(type(value), type(value).__name__)
    return f"{value!r} ({kind})"
