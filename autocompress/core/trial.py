"""One trial of a search: a policy and what was found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autocompress.core.policy import Policy


@dataclass(frozen=True)
class Trial:
    """A policy, its measured values, and its budget constraints (at most 0 when kept).

    number       position in the search, from 0.   stage: who proposed it, such as ``tpe``.
    values       objective name to value in SI units, in the objective's own direction.
    predicted    the same from the tables, before anything was measured.
    low, high    the interval of each measured value.
    constraints  budget name to ``(value - limit) / limit``, sign-normalised so that at most 0 keeps the budget.
    state        ``complete`` or ``failed`` (then ``cause`` says why).
    """

    number: int
    policy: Policy
    stage: str
    values: Mapping[str, float] = field(default_factory=dict)
    predicted: Mapping[str, float] = field(default_factory=dict)
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    constraints: Mapping[str, float] = field(default_factory=dict)
    state: str = "complete"
    seconds: float = 0.0
    cause: str = ""

    @property
    def feasible(self) -> bool:
        return self.state == "complete" and all(value <= 0 for value in self.constraints.values())

    def row(self) -> dict[str, Any]:
        """A flat dict for tables: value, interval and prediction of every objective."""
        row: dict[str, Any] = {
            "trial": self.number,
            "stage": self.stage,
            "state": self.state,
            "feasible": self.feasible,
        }
        for name, value in self.values.items():
            row[name] = value
            for suffix, source in (("low", self.low), ("high", self.high), ("predicted", self.predicted)):
                if name in source:
                    row[f"{name}_{suffix}"] = source[name]
        row |= {"policy": self.policy.digest(), "seconds": self.seconds, "cause": self.cause}
        return row
