"""From a table of options to the engine's problem: resources, limits, objectives, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autocompress.core.objective import MAXIMIZE, Budget, Objective
from autocompress.engine import Limit, Problem, Resource
from autocompress.engine.problem import LOSS, MOST_OBJECTIVES
from autocompress.engine.reach import out_of_reach
from autocompress.estimate.table import Table
from autocompress.pipeline.trials import Dense

ROUNDING = 1e-9
"""The loss that a floor of exactly the dense quality still permits."""


def make_problem(
    table: Table,
    dense: Dense,
    budgets: Sequence[Budget],
    objectives: Sequence[Objective],
    baseline: Mapping[str, float],
) -> Problem:
    """Units with resources and limits. Every budget is a limit; loss and latency are always objectives.

    Custom objectives that the table prices are resources like the others.
    """
    figures = {"latency": dense.latency, "memory": dense.memory, "size": float(dense.bytes)}
    priced = table.units[0].options[0].costs.keys()
    figures |= {o.name: _sign(o) * baseline[o.name] for o in objectives if o.name in priced}
    base = {name: sum(unit.options[0].costs[name] for unit in table.units) for name in figures}
    resources = tuple(
        Resource(name, figures[name] - base[name], 1.0, 0.03 if name == "latency" else 0.0) for name in figures
    )
    limits = tuple(Limit(_key(budget), _limit(budget, dense, baseline)) for budget in budgets)
    return Problem(table.units, resources, limits, tuple(wanted_objectives(budgets, objectives)[:MOST_OBJECTIVES]))


def wanted_objectives(budgets: Sequence[Budget], objectives: Sequence[Objective]) -> list[str]:
    """What should shape the front, what matters most first; the engine compares the first MOST_OBJECTIVES."""
    wanted = [LOSS, "latency", *(objective.name for objective in objectives)]
    return list(dict.fromkeys(wanted + [b.objective.name for b in budgets if b.objective.name in ("memory", "size")]))


def problem_notes(problem: Problem, budgets: Sequence[Budget], objectives: Sequence[Objective]) -> list[str]:
    """What a user should know before the first trial: objectives that do not shape the front, budgets out of reach."""
    notes = []
    beyond = wanted_objectives(budgets, objectives)[MOST_OBJECTIVES:]
    if beyond:
        notes.append(
            f"the front is over {', '.join('quality' if one == LOSS else one for one in problem.objectives)}; "
            f"{', '.join(beyond)}: measured, reported and held to its budget, but it does not shape the front"
        )
    short = out_of_reach(problem)
    by_key = {_key(budget): budget for budget in budgets}
    for name, value in short.items():
        limit = problem.limit(name) or 0.0
        over = abs(value - limit) / abs(limit) if limit else abs(value)
        notes.append(
            f"by the tables no combination of options keeps {by_key[name].describe()}: the nearest is predicted to "
            f"miss it by {over:.1%} of the limit; the search looks for the nearest"
        )
    return notes


def _sign(objective: Objective) -> float:
    return -1.0 if objective.direction == MAXIMIZE else 1.0


def _key(budget: Budget) -> str:
    return LOSS if budget.objective.name == "quality" else budget.name


def _limit(budget: Budget, dense: Dense, baseline: Mapping[str, float]) -> float:
    """The limit in what the engine minimises."""
    if budget.objective.name == "quality":
        floor = budget.limit * dense.quality if budget.relative else budget.limit
        return dense.quality - floor + ROUNDING
    return _sign(budget.objective) * budget.absolute(baseline)
