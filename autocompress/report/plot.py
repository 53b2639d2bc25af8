"""The front as a picture: measured latency against quality."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.basics.atomic import write_whole
from autocompress.core.objective import LATENCY, QUALITY, Budget
from autocompress.core.trial import Trial
from autocompress.report.quality_scale import scale_quality
from autocompress.report.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette: told apart with any common colour blindness, and by marker besides.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C"
MS = 1e3


def plot_front(result: Result, path: Path) -> Path:
    """Draw trials (sweep and search apart), the front, the dense model, the budgets and the chosen point as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _trials(axes, [trial for trial in result.trials if trial.stage == "sweep"], "sweep", ORANGE, "s")
    _trials(axes, [trial for trial in result.trials if trial.stage != "sweep"], "search", BLUE, "o")
    _front(axes, result.front)
    _dense(axes, result)
    _chosen(axes, result)
    for budget in result.budgets:
        _budget(axes, budget, result)
    target = result.target
    where = f"{target.device}, batch {target.batch}, sequence {target.sequence}, {target.threads} threads"
    axes.set_xlabel(f"measured latency in ms ({where})")
    _limit_latency(axes, result)
    dense = result.baseline.get(QUALITY.name)
    qualities = [trial.values[QUALITY.name] for trial in result.trials if _has_point(trial)]
    scaled = scale_quality(axes, qualities, dense.median if dense is not None else None)
    axes.set_ylabel(result.metric + (" (by its distance to dense)" if scaled else ""))
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_whole(path, buffer.getvalue())


def _trials(axes: Axes, trials: Sequence[Trial], label: str, colour: str, marker: str) -> None:
    drawn = [trial for trial in trials if _has_point(trial)]
    for kept in (True, False):
        part = [trial for trial in drawn if trial.feasible == kept]
        if not part:
            continue
        x = [trial.values[LATENCY.name] * MS for trial in part]
        y = [trial.values[QUALITY.name] for trial in part]
        axes.errorbar(
            x, y, xerr=_errors(part), fmt=marker, markersize=5, color=colour, ecolor=colour, elinewidth=0.8,
            markerfacecolor=colour if kept else "white", alpha=0.9, linestyle="none",
            label=f"{label}: {len(part)} {'keep' if kept else 'miss'} the budget",
        )  # fmt: skip


def _errors(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    name, below, above = LATENCY.name, [], []
    for trial in trials:
        value = trial.values[name]
        below.append(max(0.0, value - trial.low.get(name, value)) * MS)
        above.append(max(0.0, trial.high.get(name, value) - value) * MS)
    return below, above


def _front(axes: Axes, front: Sequence[Trial]) -> None:
    points = sorted((t.values[LATENCY.name] * MS, t.values[QUALITY.name]) for t in front if _has_point(t))
    if len(points) > 1:
        x, y = zip(*points, strict=True)
        axes.step(x, y, where="post", color=GREY, linewidth=1.0, zorder=1, label="front")


def _dense(axes: Axes, result: Result) -> None:
    latency, quality = result.baseline.get(LATENCY.name), result.baseline.get(QUALITY.name)
    if latency is None or quality is None:
        return
    spread = ([(latency.median - latency.low) * MS], [(latency.high - latency.median) * MS])
    axes.errorbar(
        [latency.median * MS], [quality.median], xerr=spread, fmt="D", color="black", markersize=7, label="dense",
        clip_on=False, zorder=3,
    )  # fmt: skip


def _chosen(axes: Axes, result: Result) -> None:
    """The chosen policy where fresh processes measured it, at the quality of its trial."""
    if result.policy is None:
        return
    digest = result.policy.digest()
    trial = next((t for t in result.trials if t.policy.digest() == digest and _has_point(t)), None)
    if trial is None:
        return
    verified = result.verified.get(LATENCY.name)
    x = verified.median if verified is not None else trial.values[LATENCY.name]
    label = "chosen, verified in fresh processes" if result.kept else "nearest miss"
    colour = GREEN if result.kept else VERMILION
    y = trial.values[QUALITY.name]
    if verified is not None:
        spread = ([(x - verified.low) * MS], [(verified.high - x) * MS])
        axes.errorbar([x * MS], [y], xerr=spread, fmt="none", ecolor=colour, elinewidth=2, capsize=4, zorder=4)
    axes.plot(
        [x * MS],
        [y],
        "*",
        markersize=17,
        color=colour,
        markeredgecolor="black",
        linestyle="none",
        zorder=5,
        label=label,
    )


def _budget(axes: Axes, budget: Budget, result: Result) -> None:
    dense = {name: measured.median for name, measured in result.baseline.items()}
    if budget.name not in (LATENCY.name, QUALITY.name) or (budget.relative and budget.name not in dense):
        return
    # Where the verdict draws it: a relative limit follows the dense model as the verdict's own sessions timed it.
    judged = next((verdict.limit for verdict in result.verdicts if verdict.budget.name == budget.name), None)
    limit = budget.absolute(dense) if judged is None else judged
    if budget.name == LATENCY.name:
        axes.axvline(limit * MS, color=VERMILION, linestyle="--", linewidth=1.3, label=f"budget: {budget.describe()}")
    else:
        axes.axhline(limit, color=VERMILION, linestyle=":", linewidth=1.6, label=f"budget: {budget.describe()}")


def _limit_latency(axes: Axes, result: Result) -> None:
    """The points and the dense model fill the axis; a wide interval may leave it."""
    found = [trial.values[LATENCY.name] * MS for trial in result.trials if _has_point(trial)]
    dense = result.baseline.get(LATENCY.name)
    found += [dense.high * MS] if dense is not None else []
    if found:
        margin = 0.06 * (max(found) - min(found) or max(found))
        axes.set_xlim(min(found) - margin, max(found) + margin)


def _has_point(trial: Trial) -> bool:
    return trial.state == "complete" and LATENCY.name in trial.values and QUALITY.name in trial.values
