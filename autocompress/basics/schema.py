"""What comes from a file is checked once, where it comes in: JSON within limits, then the shape of a dataclass.

The shapes are the project's own frozen dataclasses; pydantic compares (it is imported on the first use).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from autocompress.basics.read_file import LARGEST, read_text
from autocompress.errors import UsageError

DEEPEST = 64
"""Levels of nesting in a JSON document."""
DIGITS = 20
"""Digits of a whole number: more than any count, id or number of bytes has."""
SHOWN = 80
T = TypeVar("T")


class _RefusedError(ValueError):
    """Valid JSON that no file of ours holds."""


def read_json(path: Path, error: type[UsageError], *, expected: str, remedy: str, largest: int = LARGEST) -> Any:
    """The JSON document in a file, within the limits of `parse_json`. Raises ``error``; ``remedy`` ends its line."""
    return parse_json(read_text(path, error, expected=expected, largest=largest), str(path), error, remedy=remedy)


def parse_json(text: str, where: str, error: type[UsageError], *, remedy: str) -> Any:
    """A JSON document: no name twice in an object, no NaN or infinity, and neither depth nor digits without end.

    >>> parse_json('{"keep": [1, 2.5, true]}', "policy", UsageError, remedy="mend it.")
    {'keep': [1, 2.5, True]}
    """
    try:
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_number,
            parse_constant=_constant,
        )
        check_limits(found)
    except json.JSONDecodeError as broken:
        raise error(f"{where}, line {broken.lineno}: not valid JSON ({broken.msg}); {remedy}") from broken
    except RecursionError:
        raise error(f"{where}: nested more than {DEEPEST} levels deep; {remedy}") from None
    except _RefusedError as refused:
        raise error(f"{where}: {refused}; {remedy}") from refused
    return found


def shaped(kind: type[T], data: Any, where: str, error: type[UsageError], *, remedy: str, extra: bool = False) -> T:
    """``data`` as an instance of ``kind`` (a dataclass, or a type such as ``list[Layer]``); nothing is converted.

    extra   whether fields that ``kind`` does not know are passed over. Raises ``error`` naming the first that is off.
    """
    from pydantic import ValidationError

    adapter = _adapter(kind)  # type: ignore[arg-type]  # a type is hashable
    try:
        # From text, because in JSON a list is what a tuple is written as.
        document = json.dumps(data)
        found: T = adapter.validate_json(document, strict=True, extra="ignore" if extra else "forbid")
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        got = "" if first["type"] == "missing" else f", got {short(first['input'])}"
        raise error(f"{where}: {place or 'the whole'}: {_lower(first['msg'])}{got}; {remedy}") from wrong
    return found


def short(value: Any) -> str:
    """A value in at most `SHOWN` characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def cause(error: BaseException) -> str:
    """What a library said, on one line and not longer than a line should be."""
    text = " ".join(str(error).split())
    return text if len(text) <= 3 * SHOWN else f"{text[: 3 * SHOWN - 3]}..."


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _RefusedError(f"the name {short(twice)} is given twice")
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS:
        raise _RefusedError(f"a whole number of {len(text.lstrip('-'))} digits")
    return int(text)


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise _RefusedError(f"the number {text[:SHOWN]} is out of range")
    return found


def _constant(text: str) -> float:
    raise _RefusedError(f"{text} is no number that may be here")


def check_limits(document: Any) -> None:
    """Raise ValueError for depth, digits, numbers and halves of characters that no file of ours has.

    Without recursion: whoever reads the document afterwards may recurse.
    """
    level = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            else:
                _check_value(value)
        if not below:
            return
        level = below
    raise _RefusedError(f"nested more than {DEEPEST} levels deep")


def _check_value(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise _RefusedError(f"{value} is no number that may be here")
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        raise _RefusedError(f"a whole number of more than {DIGITS} digits")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _RefusedError(f"the text {short(value)} holds half of a surrogate pair") from None
