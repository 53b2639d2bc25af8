"""The verdict never flips on noise: kept and missed need their bound, everything else is undecided."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from autocompress.core.measurement import Measurement
from autocompress.core.objective import parse_budget
from autocompress.errors import BudgetError
from autocompress.measure.verdict import absolute, judge, judge_sessions, needs_more, overall

TWENTY = parse_budget("20ms")
FLOOR = parse_budget("quality=0.98")
THREE_QUARTERS = parse_budget("75%")


def figure(low: float, value: float, high: float) -> Measurement:
    return Measurement(((value,),), value, low, high)


@pytest.mark.parametrize(
    ("low", "value", "high", "state"),
    [(0.017, 0.018, 0.020, "kept"), (0.0201, 0.021, 0.022, "missed"), (0.018, 0.0195, 0.021, "undecided")],
)
def test_minimise(low: float, value: float, high: float, state: str) -> None:
    verdict = judge(TWENTY, figure(low, value, high))
    assert verdict.state == state
    assert verdict.reason.startswith(state)
    assert verdict.gap == pytest.approx((value - 0.02) / 0.02)


@pytest.mark.parametrize(
    ("low", "value", "high", "state"),
    [(0.981, 0.985, 0.99, "kept"), (0.96, 0.97, 0.979, "missed"), (0.97, 0.985, 0.99, "undecided")],
)
def test_maximise(low: float, value: float, high: float, state: str) -> None:
    verdict = judge(FLOOR, figure(low, value, high))
    assert verdict.state == state
    assert (verdict.gap > 0) == (value < 0.98)


def test_a_figure_without_noise_is_decided_at_the_limit() -> None:
    size = parse_budget("size=10MB")
    assert judge(size, Measurement.exact(1e7)).kept
    assert judge(size, Measurement.exact(1e7 + 1)).state == "missed"


def test_relative_budgets_are_said_in_the_objectives_unit() -> None:
    verdict = judge(THREE_QUARTERS, figure(0.60, 0.62, 0.64), dense=0.04)
    assert verdict.kept
    assert (verdict.value, verdict.limit) == (pytest.approx(0.0248), pytest.approx(0.03))
    with pytest.raises(BudgetError, match="dense model's figure"):
        judge(THREE_QUARTERS, figure(0.60, 0.62, 0.64))


def test_a_loaded_machine_does_not_flip_a_relative_verdict() -> None:
    rng = np.random.default_rng(0)
    ours, dense = [], []
    for load in (1.0, 1.8, 1.2, 1.5):
        ours.append((0.020 * load * np.exp(rng.normal(0, 0.02, 20))).tolist())
        dense.append((0.040 * load * np.exp(rng.normal(0, 0.02, 20))).tolist())
    assert judge_sessions(THREE_QUARTERS, ours, dense).kept
    assert judge_sessions(parse_budget("25ms"), ours, dense).state == "undecided"


def test_more_sessions_of_the_dense_model_narrow_an_absolute_figure() -> None:
    rng = np.random.default_rng(2)
    bias = np.exp(rng.normal(0, 0.05, 40))
    dense = [(0.04 * one * np.exp(rng.normal(0, 0.01, 20))).tolist() for one in bias]
    ours = [(0.02 * one * np.exp(rng.normal(0, 0.01, 20))).tolist() for one in bias[:3]]
    plain, pooled = absolute(ours, dense[:3]), absolute(ours, dense[:3], dense[3:])
    assert pooled.high - pooled.low < plain.high - plain.low
    assert pooled.low <= 0.02 <= pooled.high


def test_p95_has_its_own_verdict() -> None:
    tail = [[0.010] * 16 + [0.030] * 4] * 3
    assert judge_sessions(TWENTY, tail, tail).kept
    assert judge_sessions(parse_budget("latency.p95=20ms"), tail, tail).state == "missed"


def test_sessions_go_on_only_while_they_can_change_something() -> None:
    kept, missed = judge(TWENTY, figure(1e-3, 2e-3, 3e-3)), judge(TWENTY, figure(0.1, 0.2, 0.3))
    open_ = judge(TWENTY, figure(0.019, 0.02, 0.03))
    assert needs_more([kept], 2)
    assert not needs_more([kept], 3)
    assert needs_more([kept, open_], 3)
    assert not needs_more([missed, open_], 3)
    assert not needs_more([open_], 9)
    assert [overall(one) for one in ([kept], [kept, open_], [open_, missed])] == ["kept", "undecided", "missed"]


def test_the_verdict_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import autocompress.measure.verdict as v; print(v.KEPT)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "kept\n", done.stderr
