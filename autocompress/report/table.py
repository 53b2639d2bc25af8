"""The front as one table: the dense model on top, then what the search offers, best quality first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from autocompress.basics.units import format_value
from autocompress.core.measurement import Measurement
from autocompress.core.objective import LATENCY, Objective
from autocompress.core.policy import Policy
from autocompress.core.trial import Trial
from autocompress.report.policy_words import policy_words
from autocompress.report.result import Result

ROWS = 12
"""Rows of the front that are printed; all of them are in ``front.csv``."""


def front_table(result: Result) -> Table:
    """Quality, latency (predicted, measured, interval), and every other objective; the chosen row is marked."""
    objectives = [objective for objective in result.objectives if objective.name != LATENCY.name]
    table = Table(box=None, pad_edge=False, title_justify="left", caption_justify="left")
    table.add_column("")
    for objective in objectives:
        table.add_column(escape(_title(objective, result.metric)), justify="right")
    table.add_column("latency predicted", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("policy", overflow="fold")
    table.add_row("dense", *_dense(result.baseline, objectives), "dense", style="dim")
    shown = pick(result.front, result.policy)
    if result.nearest is not None and not any(_same(trial.policy, result.policy) for trial in shown):
        shown.append(result.nearest)
    for trial in shown:
        chosen = _same(trial.policy, result.policy)
        mark = ("kept" if result.kept else "nearest") if chosen else _mark(trial)
        table.add_row(mark, *_trial(trial, objectives), style="bold green" if chosen and result.kept else None)
    left = len(result.front) - ROWS
    if left > 0:
        table.caption = f"{left} more in front.csv"
    return table


def pick(front: Sequence[Trial], policy: Policy | None, rows: int = ROWS) -> list[Trial]:
    """At most ``rows`` trials spread evenly along the front; the ends and the chosen policy are always among them."""
    if len(front) <= rows:
        return list(front)
    last = len(front) - 1
    indices = {round(i * last / (rows - 1)) for i in range(rows)}
    chosen = next((i for i, trial in enumerate(front) if _same(trial.policy, policy)), None)
    if chosen is not None and chosen not in indices:
        inner = [index for index in indices if 0 < index < last]
        indices.remove(min(inner, key=lambda index: abs(index - chosen)))
        indices.add(chosen)
    return [front[index] for index in sorted(indices)]


def interval(low: float | None, high: float | None, unit: str) -> str:
    """``19.1-20.3 ms``: the unit once where both ends share it."""
    if low is None or high is None:
        return ""
    first, second = format_value(low, unit), format_value(high, unit)
    if first == second:
        return "exact"
    number, _, word = first.partition(" ")
    return f"{number}-{second}" if word and second.endswith(f" {word}") else f"{first} - {second}"


def _title(objective: Objective, metric: str) -> str:
    return metric if objective.name == "quality" else objective.name


def _mark(trial: Trial) -> str:
    return f"{trial.number}" if trial.feasible else f"{trial.number} (over)"


def _same(policy: Policy, other: Policy | None) -> bool:
    return other is not None and policy.digest() == other.digest()


def _dense(baseline: Mapping[str, Measurement], objectives: Sequence[Objective]) -> list[str]:
    cells = [_value(baseline[o.name].median if o.name in baseline else None, o.unit) for o in objectives]
    latency = baseline.get(LATENCY.name)
    if latency is None:
        return [*cells, "", "", ""]
    return [*cells, "", _value(latency.median, "s"), interval(latency.low, latency.high, "s")]


def _trial(trial: Trial, objectives: Sequence[Objective]) -> list[str]:
    name = LATENCY.name
    return [
        *(_value(trial.values.get(objective.name), objective.unit) for objective in objectives),
        _value(trial.predicted.get(name), "s"),
        _value(trial.values.get(name), "s"),
        interval(trial.low.get(name), trial.high.get(name), "s"),
        escape(policy_words(trial.policy)),
    ]


def _value(value: float | None, unit: str) -> str:
    if value is not None and not unit and 0 < 1 - value < 5e-4:
        return f"{value:.6f}"  # four decimals would call it 1
    return "" if value is None else escape(format_value(value, unit))
