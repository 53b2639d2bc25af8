"""The domain of one technique parameter: a finite choice, or a range that is sampled on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocompress.errors import SpaceError

Value = bool | int | float | str


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    options: tuple[Value, ...]

    def values(self) -> tuple[Value, ...]:
        return self.options

    def __contains__(self, value: object) -> bool:
        return value in self.options


@dataclass(frozen=True)
class IntRange:
    """Every ``step``-th integer from ``low`` to ``high``, both included."""

    low: int
    high: int
    step: int = 1

    def values(self) -> tuple[Value, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class FloatRange:
    """``points`` evenly spaced numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    points: int = 5

    def values(self) -> tuple[Value, ...]:
        if self.points < 2:
            return (self.low,)
        step = (self.high - self.low) / (self.points - 1)
        return tuple(round(self.low + i * step, 6) for i in range(self.points))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low - 1e-9 <= value <= self.high + 1e-9


Domain = Choice | IntRange | FloatRange


def narrow(domain: Domain, wanted: Sequence[Value], *, where: str) -> Choice:
    """The wanted values, each of which must lie in the domain.

    Raises SpaceError naming the first value that the technique does not offer there.
    """
    for value in wanted:
        if value not in domain:
            offered = ", ".join(map(str, domain.values()))
            raise SpaceError(f"{where}: value {value!r} is not offered here; expected one of {offered}.")
    return Choice(tuple(wanted))
