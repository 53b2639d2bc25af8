"""Objectives and budgets: what is minimised or maximised, and which limits are promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocompress.basics.matching import unknown
from autocompress.basics.units import NUMBER, Quantity, format_value, parse_quantity
from autocompress.errors import BudgetError

MINIMIZE, MAXIMIZE = "minimize", "maximize"


@dataclass(frozen=True)
class Objective:
    """A quantity of the compressed model.

    direction   ``minimize`` or ``maximize``.
    unit        ``s``, ``B`` or a plain word for tables.
    function    None for the four that autocompress measures itself; otherwise ``function(model) -> float``, called
                with the compressed ``nn.Module`` in evaluation mode.
    budget      an optional limit in the objective's own unit, as text: at most this of what is minimised, at least
                this of what is maximised. It holds where the objective is passed to a search, or named alone as a
                budget; an objective that is merely installed constrains nothing.
    """

    name: str
    direction: str = MINIMIZE
    unit: str = ""
    function: Callable[[Any], float] | None = None
    budget: str | None = None

    def __post_init__(self) -> None:
        if self.direction not in (MINIMIZE, MAXIMIZE):
            raise BudgetError(
                f"objective {self.name!r}: unknown direction {self.direction!r}; expected 'minimize' or 'maximize'."
            )


LATENCY = Objective("latency", MINIMIZE, "s")
MEMORY = Objective("memory", MINIMIZE, "B")
SIZE = Objective("size", MINIMIZE, "B")
QUALITY = Objective("quality", MAXIMIZE, "")
BUILTIN = (QUALITY, LATENCY, MEMORY, SIZE)


@dataclass(frozen=True)
class Budget:
    """A limit on one objective.

    limit       in SI units, or a fraction of the dense model's value when ``relative``.
    statistic   ``median`` or ``p95`` (latency only).
    """

    objective: Objective
    limit: float
    relative: bool = False
    statistic: str = "median"

    @property
    def name(self) -> str:
        """The key in reports: ``latency`` or ``latency.p95``."""
        return self.objective.name if self.statistic == "median" else f"{self.objective.name}.{self.statistic}"

    def absolute(self, dense: Mapping[str, float]) -> float:
        """The limit in SI units, given the dense model's values by budget name."""
        return self.limit * dense[self.name] if self.relative else self.limit

    def describe(self) -> str:
        """The promise in words: ``latency <= 20 ms`` or ``quality >= 99% of dense``."""
        sign = "<=" if self.objective.direction == MINIMIZE else ">="
        limit = f"{self.limit:.4g} of dense" if self.relative else format_value(self.limit, self.objective.unit)
        return f"{self.name} {sign} {limit}"


def parse_budget(text: str, objectives: Iterable[Objective] = BUILTIN) -> Budget:
    """Read ``20ms``, ``500MB``, ``70%``, ``2x`` or ``name=value``; ``quality=99%`` is relative to the dense model.

    A name alone stands for the limit that its objective comes with. An objective's own unit may follow its number.

    Raises BudgetError on an unknown name, a unit that does not fit, or a limit that is not positive.
    """
    known = {objective.name: objective for objective in objectives}
    name, separator, value = text.partition("=")
    if not separator:
        name, value = "", text
        own = known.get(text.strip())
        if own is not None:
            name, value = own.name, _own_limit(own)
    quantity = _quantity(value, known.get(name.strip()))
    if quantity.value <= 0:
        raise BudgetError(f"budget {text!r} is not positive: expected a limit above zero, such as 20ms, 500MB or 70%.")
    if not name:
        default = {"s": "latency", "B": "memory", "%": "latency", "x": "latency"}.get(quantity.kind)
        if default is None:
            raise BudgetError(
                f"budget {text!r} has no unit: write 20ms, 500MB, 70%, 2x or a name, such as quality=0.98."
            )
        name = default
    name, _, statistic = name.strip().partition(".")
    if name not in known:
        raise BudgetError(unknown("objective in budget", name, known))
    objective = known[name]
    if statistic not in ("", "median", "p95") or (statistic == "p95" and name != "latency"):
        raise BudgetError(f"budget {text!r}: unknown statistic {statistic!r}; expected latency or latency.p95.")
    relative, limit = quantity.kind in ("%", "x"), quantity.value
    if quantity.kind == "x":
        if objective.direction == MAXIMIZE:
            raise BudgetError(
                f"budget {text!r}: 'x' means times faster or smaller; for {name} give a value or a percent."
            )
        limit = 1.0 / limit
    if not relative and quantity.kind != (objective.unit if objective.unit in ("s", "B") else ""):
        plain = f"a number or one with its unit, such as 1{objective.unit}" if objective.unit else "a plain number"
        wanted = {"s": "a time such as 20ms", "B": "bytes such as 500MB"}.get(objective.unit, plain)
        raise BudgetError(f"budget {text!r}: {name} expects {wanted}, a percent of the dense model, or a factor.")
    return Budget(objective, limit, relative, statistic or "median")


def _own_limit(objective: Objective) -> str:
    if objective.budget is None:
        raise BudgetError(f"budget {objective.name!r} has no limit: write {objective.name}=VALUE.")
    return objective.budget


def _quantity(text: str, objective: Objective | None) -> Quantity:
    """The number and its unit; a unit that only this objective has reads as a plain number of it."""
    unit = objective.unit if objective is not None else ""
    number = text.strip().removesuffix(unit) if unit not in ("s", "B", "%", "x", "") else ""
    if number != text.strip() and NUMBER.fullmatch(number):
        return Quantity(float(number), "")
    return parse_quantity(text)


def parse_budgets(
    texts: Sequence[str], objectives: Iterable[Objective] = BUILTIN, asked: Iterable[Objective] = ()
) -> tuple[Budget, ...]:
    """Read several budgets; the same objective twice is a contradiction.

    objectives   what a budget may name.
    asked        those of them that the caller brought: the limits that they come with are budgets too.
    Raises BudgetError on a bad budget, on a duplicate, and on a quality floor that the metric cannot reach.
    """
    known = tuple(objectives)
    budgets = [parse_budget(text, known) for text in texts]
    budgets += [
        parse_budget(f"{objective.name}={objective.budget}", known)
        for objective in asked
        if objective.budget is not None
    ]
    seen: dict[str, Budget] = {}
    for budget in budgets:
        if budget.name in seen:
            raise BudgetError(
                f"contradictory budgets: {seen[budget.name].describe()!r} and {budget.describe()!r}; "
                f"give one budget for {budget.name}."
            )
        seen[budget.name] = budget
        if budget.relative and budget.objective.direction == MAXIMIZE and budget.limit > 1:
            raise BudgetError(
                f"budget {budget.describe()!r} asks for more than the dense model has; give 100% or less."
            )
    if not any(b.objective.direction == MINIMIZE for b in budgets) and not any(b.name == "quality" for b in budgets):
        raise BudgetError("no budget given: write --budget 20ms, --budget 70%, --budget memory=300MB or quality=0.98.")
    p95, plain = seen.get("latency.p95"), seen.get("latency")
    if p95 and plain and p95.relative == plain.relative and not p95.relative and p95.limit < plain.limit:
        raise BudgetError(
            f"contradictory budgets: {p95.describe()!r} is tighter than {plain.describe()!r}, "
            "but a 95th percentile is never below the median; drop one of them."
        )
    return tuple(budgets)
