"""Quantities at the boundary: strings with units in, SI numbers inside, readable strings out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autocompress.errors import BudgetError

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d]*)\s*")
NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
"""A number without a unit."""
_ACCEPTED = "20ms, 0.02s, 500MB, 1.5GiB, 70% or 2x"


@dataclass(frozen=True)
class Quantity:
    """A number and what it measures: ``kind`` is ``s``, ``B``, ``%``, ``x`` or ``""`` (plain)."""

    value: float
    kind: str


def parse_quantity(text: str, *, expected: str = _ACCEPTED) -> Quantity:
    """Read ``20ms``, ``1.5GiB``, ``70%``, ``2x`` or ``0.98`` into SI units (70% is 0.70).

    Raises BudgetError on an unknown unit or something that is not a number.
    """
    found = _NUMBER.fullmatch(text)
    if not found:
        raise BudgetError(f"cannot read {text!r} as a quantity: expected a number and a unit, such as {expected}.")
    number, unit = float(found[1]), found[2]
    if unit == "":
        return Quantity(number, "")
    if unit == "%":
        return Quantity(number / 100.0, "%")
    if unit in ("x", "X", "×"):
        return Quantity(number, "x")
    if unit in SECONDS:
        return Quantity(number * SECONDS[unit], "s")
    if unit in BYTES:
        return Quantity(number * BYTES[unit], "B")
    known = ", ".join([*SECONDS, *BYTES, "%", "x"])
    raise BudgetError(f"unknown unit {unit!r} in {text!r}: expected one of {known}; for example {expected}.")


def parse_seconds(text: str) -> float:
    """Read a duration such as ``90s`` or ``10m`` into seconds; a bare number is seconds."""
    quantity = parse_quantity(text, expected="90s or 10m")
    if quantity.kind not in ("s", "") or quantity.value <= 0:
        raise BudgetError(f"cannot read {text!r} as a duration: expected a positive time such as 90s or 10m.")
    return quantity.value


def format_seconds(value: float) -> str:
    """Seconds with three significant digits in the unit that reads best: ``12.3 ms``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def format_bytes(value: float) -> str:
    """Bytes with three significant digits in powers of ten: ``90.9 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.0f} B"


def format_value(value: float, unit: str) -> str:
    """A value in the unit of its objective (``s``, ``B`` or anything else) for a person to read."""
    if unit == "s":
        return format_seconds(value)
    if unit == "B":
        return format_bytes(value)
    return f"{value:.4f}" + (f" {unit}" if unit else "")
