"""The search problem as numbers: units to decide, their options, budgets and objectives; no torch, no model.

Additions to a bare option table, all optional: `Option.formats` and `Resource.switch` price a change of number format
between neighbouring units, and `Problem.logged` names the objectives that are compared by ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LOSS = "loss"
MOST_OBJECTIVES = 4

Assignment = tuple[int, ...]
"""One option index per unit, in the order of `Problem.units`."""


@dataclass(frozen=True)
class Option:
    """One way to treat a unit; `options[0]` of a unit leaves it dense.

    costs         additive contribution per resource, in that resource's unit (seconds, bytes).
    damage        predicted additive loss; negative where the option is better than dense.
    damage_parts  the same loss split by technique; empty means all of it belongs to the joined techniques.
    formats       number formats of what the unit runs, in order ("int8", "int8", ""); every change from one to the
                  next, within the unit and to its neighbours, costs `Resource.switch`.
    """

    label: str
    techniques: tuple[str, ...]
    costs: Mapping[str, float]
    damage: float
    damage_parts: Mapping[str, float] = field(default_factory=dict)
    formats: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Unit:
    """One decision: a layer, a group, or several tied layers. `depth` is 0 at the input and 1 at the output."""

    name: str
    kind: str
    depth: float
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Resource:
    """Whole-model figure = intercept + slope * sum(costs) + switch * format changes; `residual` is its relative sd."""

    name: str
    intercept: float = 0.0
    slope: float = 1.0
    residual: float = 0.0
    switch: float = 0.0


@dataclass(frozen=True)
class Limit:
    """A budget: the named value must be <= limit. The name is a resource, "loss" or a custom objective."""

    name: str
    limit: float


@dataclass(frozen=True)
class Problem:
    """Everything the engine knows before the first evaluation. All objectives are minimised; 2 to 4 of them.

    Units are in the order of execution: neighbours in the tuple are the ones whose errors are likeliest to interact.
    Raises ValueError on a table that cannot be searched.
    """

    units: tuple[Unit, ...]
    resources: tuple[Resource, ...]
    limits: tuple[Limit, ...] = ()
    objectives: tuple[str, ...] = (LOSS, "latency")
    logged: frozenset[str] = frozenset({LOSS})

    def __post_init__(self) -> None:
        if not self.units:
            raise ValueError("a problem needs at least one unit, got none")
        if not 2 <= len(self.objectives) <= MOST_OBJECTIVES or len(set(self.objectives)) != len(self.objectives):
            raise ValueError(f"a problem has 2 to {MOST_OBJECTIVES} different objectives, got {self.objectives}")
        names = {resource.name for resource in self.resources}
        for unit in self.units:
            for option in unit.options:
                missing = names - option.costs.keys()
                if missing:
                    raise ValueError(f"option {option.label!r} of unit {unit.name!r} has no cost for {sorted(missing)}")
                if not math.isfinite(option.damage):
                    raise ValueError(
                        f"option {option.label!r} of unit {unit.name!r}: damage {option.damage} is not finite"
                    )
            if not unit.options:
                raise ValueError(f"unit {unit.name!r} has no options; give it at least the dense one")

    def limit(self, name: str) -> float | None:
        """The tightest limit on `name`, or None."""
        found = [limit.limit for limit in self.limits if limit.name == name]
        return min(found) if found else None


@dataclass(frozen=True)
class Outcome:
    """What one evaluation found.

    values   every objective and every limited quantity.
    spread   standard error, absolute, of the measured ones; a missing name is exact.
    cause    why the evaluation failed; values are then empty and the search goes on.
    seconds  what the evaluation cost.
    """

    values: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    cause: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """What is expected of a policy: values, and the standard deviations claimed for them, in the same units."""

    values: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)


Evaluate = Callable[[Assignment], Outcome]
