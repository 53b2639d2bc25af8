"""The figures of a finished search in a few plain lines."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.basics.units import format_value
from autocompress.report.policy_words import policy_words
from autocompress.report.result import Result

DENSE = "dense_"


def held_out_line(result: Result) -> str:
    """Every figure of the test split, which no choice has seen, beside the dense model's where it has one."""
    figures = [name for name in result.test if not name.startswith(DENSE)]
    if not figures:
        return ""
    return "test split: " + ", ".join(_figure(name, result.metric, result.test) for name in figures)


def sweep_line(result: Result) -> str:
    """What the plain allocator sweep reached, beside what the search added to it."""
    found = result.sweep
    if not {"sweep_hypervolume", "hypervolume"} <= found.keys():
        return ""
    swept, whole = found["sweep_hypervolume"], found["hypervolume"]
    if whole <= 0:
        return ""  # no policy within the budgets: there is no front to compare
    gain = f" ({whole / swept - 1:+.1%})" if swept > 0 else ""
    return f"sweep against search: hypervolume {swept:.4g} by the plain sweep, {whole:.4g} with the search{gain}"


def accuracy_line(result: Result) -> str:
    """How far latencies were from what was predicted before they were measured, and from what that claimed."""
    found = result.accuracy
    if "mape" not in found:
        return ""
    bias = f", {found['bias']:+.1%} on average" if "bias" in found else ""
    claim = f"; sd {found['sd']:.1%}, claimed {found['claimed_sd']:.1%}" if "claimed_sd" in found else ""
    return f"latency prediction: off by {found['mape']:.1%} (mean of {found.get('count', 0):.0f} trials{bias}{claim})"


def additivity_line(result: Result) -> str:
    """How far the loss of whole policies was from the sum of what their layers lose alone."""
    found = result.accuracy
    if "additivity" not in found:
        return ""
    return f"additivity: whole policies lose {found['additivity']:.2g} times what their layers lose one by one"


def nearest_lines(result: Result) -> tuple[str, ...]:
    """After a miss: the nearest policy, and for every budget that it misses by how much; () when all are kept."""
    if result.kept:
        return ()
    lines = [f"nearest policy: {policy_words(result.policy)}"] if result.policy is not None else []
    if result.verdicts:
        gaps = {verdict.budget.describe(): verdict.gap for verdict in result.verdicts}
    else:
        named = {budget.name: budget.describe() for budget in result.budgets}
        constraints = result.nearest.constraints if result.nearest is not None else {}
        gaps = {named.get(name, name): gap for name, gap in constraints.items()}
    lines += [f"  misses {name} by {gap:.1%} of the limit" for name, gap in gaps.items() if gap > 0]
    return tuple(lines)


def verified_line(result: Result) -> str:
    """The figures of the artifact, measured in fresh processes, with their intervals."""
    units = {objective.name: objective.unit for objective in result.objectives}
    parts = []
    for name, measured in result.verified.items():
        unit = units.get(name.partition(".")[0], "")
        spread = "" if measured.low == measured.high else (
            f" ({format_value(measured.low, unit)} to {format_value(measured.high, unit)})"
        )  # fmt: skip
        parts.append(f"{name} {format_value(measured.median, unit)}{spread}")
    return f"in fresh processes: {', '.join(parts)}" if parts else ""


def _figure(name: str, metric: str, test: Mapping[str, float]) -> str:
    words = metric if name == "quality" else _words(name)
    dense = test.get(DENSE + name)
    return f"{words} {test[name]:.4f}" + (f" (dense {dense:.4f})" if dense is not None else "")


def _words(name: str) -> str:
    return name.replace("_", " ")
