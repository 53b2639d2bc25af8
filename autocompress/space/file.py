"""Search spaces as TOML files: rules, and other spaces to extend.

description = "..."
extends = ["quantize"]

[[rule]]
match = "*"
kind = "ffn"
technique = "ffn-neurons"
share = "layer"
params = { keep = [0.875, 0.75] }
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.basics.matching import unknown
from autocompress.basics.toml_lines import line_of, read_toml
from autocompress.errors import SpaceError
from autocompress.space.binding import Rule, SearchSpace

TOP = {"description": str, "extends": list, "rule": list}
RULE = {"match": str, "technique": str, "kind": str, "share": str, "params": dict}


def load_space(name: str, known: Mapping[str, Path]) -> SearchSpace:
    """The space of that name among the known ones, or the TOML file of that path.

    Raises SpaceError for an unknown name (with near misses) and for a wrong key or type (with file, key and line).
    """
    return _load(name, known, ())


def _load(name: str, known: Mapping[str, Path], above: tuple[str, ...]) -> SearchSpace:
    if name in above:
        raise SpaceError(f"search spaces extend each other in a circle: {' -> '.join((*above, name))}.")
    path = known.get(name) or Path(name)
    if name not in known and path.suffix != ".toml":
        raise SpaceError(f"{unknown('search space', name, known)} Or give the path of a .toml file.")
    data, text = read_toml(path, SpaceError)
    _check(data, TOP, path, text, ())
    rules: list[Rule] = []
    for parent in data.get("extends", []):
        if not isinstance(parent, str):
            raise SpaceError(f"{path}, line {line_of(text, 'extends')}: 'extends' expects names, got {parent!r}.")
        rules += _load(parent, known, (*above, name)).rules
    rules += [_rule(entry, path, text, ("rule", index)) for index, entry in enumerate(data.get("rule", []))]
    if not rules:
        raise SpaceError(f"{path}: no [[rule]] and nothing to extend; a space needs at least one rule.")
    return SearchSpace(path.stem, tuple(rules), data.get("description", ""), str(path))


def _rule(entry: Any, path: Path, text: str, where: tuple[str | int, ...]) -> Rule:
    if not isinstance(entry, dict):
        raise SpaceError(f"{path}, line {line_of(text, *where)}: write rules as [[rule]] tables.")
    _check(entry, RULE, path, text, where)
    if "technique" not in entry:
        raise SpaceError(f"{path}, line {line_of(text, *where)}: a [[rule]] needs a 'technique'.")
    params = {}
    for name, values in entry.get("params", {}).items():
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, bool | int | float | str) for value in listed):
            line = line_of(text, *where, "params", name)
            raise SpaceError(
                f"{path}, line {line}: params.{name} expects a list of numbers or strings, got {values!r}."
            )
        params[name] = tuple(listed)
    return Rule(
        match=entry.get("match", "*"),
        technique=entry["technique"],
        kind=entry.get("kind", ""),
        params=params,
        share=entry.get("share", "layer"),
    )


def _check(
    table: Mapping[str, Any], known: Mapping[str, type], path: Path, text: str, where: tuple[str | int, ...]
) -> None:
    for key, value in table.items():
        line = line_of(text, *where, key)
        if key not in known:
            raise SpaceError(f"{path}, line {line}: {unknown('key', key, known)}")
        if not isinstance(value, known[key]):
            expected, got = known[key].__name__, type(value).__name__
            raise SpaceError(f"{path}, line {line}: key {key!r} expects {expected}, got {got} {value!r}.")
