"""Interleaved timing: fair order, paired samples, bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch

from autocompress.errors import UsageError
from autocompress.measure.latency import time_interleaved, warm_up


def test_every_call_has_one_sample_a_round_in_changing_order() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    samples = time_interleaved(calls, rounds=20, seconds=5, warmup=0, settle=0, seed=3)
    assert {name: len(found) for name, found in samples.items()} == {"a": 20, "b": 20, "c": 20}
    rounds = ["".join(order[i : i + 3]) for i in range(len(order) - 60, len(order), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 2


class Clock:
    """Time that passes only in calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("autocompress.measure.latency.time.perf_counter", lambda: self.now)

    def takes(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds

        return call


def test_seconds_are_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    samples = time_interleaved({"short": clock.takes(0.25), "long": clock.takes(0.75)}, rounds=8, seconds=60)
    assert samples == {"short": [0.25] * 8, "long": [0.75] * 8}


def test_the_wall_clock_sees_a_call_that_sleeps() -> None:
    assert min(time_interleaved({"a": lambda: time.sleep(0.01)}, rounds=5, warmup=0)["a"]) >= 0.01


def test_the_time_limit_holds_but_not_below_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    samples = time_interleaved({"a": clock.takes(0.25)}, seconds=3.0, warmup=0, settle=0)
    assert len(samples["a"]) == 12
    before = clock.now
    samples = time_interleaved({"a": clock.takes(0.25)}, seconds=3.0, warmup=0)  # one untimed call before each
    assert len(samples["a"]) == 6
    assert clock.now - before == 3.0 + 2 * 0.25, "warm-up is at least two calls"
    assert len(time_interleaved({"a": clock.takes(1.0)}, seconds=0, minimum=4, warmup=0)["a"]) == 4


def test_warm_up_ends_when_times_are_stable() -> None:
    times = iter([9.0, 5.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert warm_up(lambda: None, timer=lambda _: next(times), seconds=60) == 8


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one call"):
        time_interleaved({})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_is_waited_for() -> None:
    big = torch.randn(4096, 4096, device="cuda")
    small = torch.randn(256, 256, device="cuda")
    samples = time_interleaved({"big": lambda: big @ big, "small": lambda: small @ small}, device="cuda", rounds=10)
    assert median(samples["big"]) > 3 * median(samples["small"]) > 0
