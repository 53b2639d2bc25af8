"""Intervals hold the truth as often as they say, and session bias is in them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autocompress.errors import UsageError
from autocompress.measure.interval import anchored, interval, ratio, t_quantile, value, width


def sessions(rng: np.random.Generator, count: int, latency: float, *, bias: float = 0.03) -> list[list[float]]:
    return [(latency * np.exp(rng.normal(0, bias)) * np.exp(rng.normal(0, 0.03, 20))).tolist() for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_coverage(count: int) -> None:
    rng = np.random.default_rng(0)
    found = [interval(sessions(rng, count, 1.0)) for _ in range(400)]
    assert np.mean([one.low <= 1.0 <= one.high for one in found]) >= 0.88


def test_sessions_that_agree_are_not_believed_without_bounds() -> None:
    found = interval([[1.0] * 50] * 3)
    assert found.median == 1.0
    assert width(found) >= 0.01


def test_spikes_do_not_move_the_value() -> None:
    assert interval([[1.0, 1.0, 1.0, 1.0, 9.0]] * 3).median == pytest.approx(1.0)


def test_a_ratio_is_free_of_the_sessions_bias() -> None:
    rng = np.random.default_rng(1)
    ours, dense = [], []
    for _ in range(4):
        bias = float(np.exp(rng.normal(0, 0.3)))
        ours.append((0.5 * bias * np.exp(rng.normal(0, 0.01, 20))).tolist())
        dense.append((bias * np.exp(rng.normal(0, 0.01, 20))).tolist())
    found = ratio(ours, dense)
    assert found.low <= 0.5 <= found.high
    assert width(found) < 0.03 < width(interval(ours))
    tied = anchored(ours, dense, sessions(rng, 30, 1.0))
    assert width(tied) < width(interval(ours))


def test_p95_is_above_the_median() -> None:
    samples = [float(i) for i in range(1, 101)]
    assert value(samples, "p95") == 95.0
    assert value(samples[:5], "p95") == 5.0
    assert interval([samples] * 3, statistic="p95").median == pytest.approx(95.0)


def test_t_quantiles_are_students() -> None:
    assert t_quantile(0.95, 2) == pytest.approx(2.920, abs=1e-3)
    assert t_quantile(0.975, 9) == pytest.approx(2.262, abs=1e-3)


@pytest.mark.parametrize("bad", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_bad_samples_are_refused(bad: list[float]) -> None:
    with pytest.raises(UsageError, match="positive, finite"):
        interval([bad])


def test_ratios_need_pairs() -> None:
    with pytest.raises(UsageError, match="as many of each"):
        ratio([[1.0]], [[1.0], [2.0]])
    with pytest.raises(UsageError, match="unknown statistic"):
        interval([[1.0]], statistic="mean")
