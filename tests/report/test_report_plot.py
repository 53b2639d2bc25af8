"""The picture shows every finished trial, and keeps near-perfect qualities apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from autocompress.pipeline.result import SearchResult
from autocompress.report.plot import _budget, plot_front
from autocompress.report.quality_scale import scale_quality

Finished = Callable[..., SearchResult]


def heights(qualities: list[float], dense: float | None) -> tuple[bool, list[float]]:
    """Whether the axis was scaled, and where the qualities stand on it, in pixels."""
    axes = Figure().add_subplot()
    scaled = scale_quality(axes, qualities, dense)
    return scaled, [float(axes.transData.transform((0.5, quality))[1]) for quality in qualities]


def test_decades_of_loss_stand_equally_apart() -> None:
    scaled, found = heights([1 - 1e-5, 1 - 1e-5, 1 - 1e-4, 1 - 1e-3, 1 - 1e-1], 1.0)
    assert scaled
    first, second = found[1] - found[2], found[2] - found[3]
    assert 0.7 < second / first < 1.4
    assert found == sorted(found, reverse=True)


def test_even_losses_and_gains_over_dense_stay_linear() -> None:
    assert not heights([0.99, 0.98, 0.97], 1.0)[0]
    assert not heights([0.99, 0.999999, 1.1], 1.0)[0]
    assert not heights([1.0, 1.0], 1.0)[0]
    assert not heights([0.9], None)[0]


def test_a_picture_is_drawn_for_every_outcome(finished: Finished, tmp_path: Path) -> None:
    kept = finished(best=SimpleNamespace(path="best"))
    uneven = tuple(
        replace(trial, values={**trial.values, "quality": 1 - 10.0 ** -(trial.number % 6)}) if trial.values else trial
        for trial in kept.trials
    )
    pictures = [
        plot_front(result, tmp_path / f"{number}.png").read_bytes()
        for number, result in enumerate([kept, finished(), finished(trials=uneven, front=()), finished(trials=())])
    ]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 4


def test_the_budget_line_is_where_the_verdict_drew_its_limit(finished: Finished) -> None:
    result = finished()
    budget = result.budgets[0]
    assert budget.relative
    verdict = SimpleNamespace(budget=budget, limit=0.031)
    for verdicts, limit in (((), 0.0285), ((verdict,), 0.031)):
        axes = Figure().add_subplot()
        _budget(axes, budget, finished(verdicts=verdicts))
        assert float(axes.lines[0].get_xdata()[0]) == pytest.approx(limit * 1e3)
