"""Latency: calls timed against each other in one process, in random order, after a warm-up that ends when stable."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

from autocompress.errors import UsageError

Call = Callable[[], object]
Timer = Callable[[Call], float]

STABLE = 0.05
"""Warm-up ends when the median of three calls is within this fraction of the median of the three before."""


def time_interleaved(
    calls: Mapping[str, Call],
    *,
    device: str = "cpu",
    rounds: int = 100,
    seconds: float = 10.0,
    minimum: int = 5,
    warmup: float = 2.0,
    settle: int = 1,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Seconds of every call, one sample a round; the order within each round is drawn anew.

    Sample i of all calls comes from the same round, so they may be paired.

    rounds    at most this many.   minimum   at least this many, whatever the time.
    seconds   time for the rounds together; warm-up comes on top: at most ``warmup`` seconds a call, but two calls.
    settle    untimed calls right before each timed one, so that each finds its own weights in the caches, as it
              does where it is deployed, and not those of its rival.
    """
    if not calls:
        raise UsageError("nothing to time: expected at least one call.")
    timer = _timer(device)
    for call in calls.values():
        warm_up(call, timer=timer, seconds=warmup)
    order, generator = list(calls), random.Random(seed)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    for done in range(max(rounds, minimum)):
        spent = time.perf_counter() - started
        # A further round is begun only when it is expected to end in time.
        if done >= minimum and spent * (done + 1) / done > seconds:
            break
        generator.shuffle(order)
        for name in order:
            for _ in range(settle):
                calls[name]()
            samples[name].append(timer(calls[name]))
    return samples


def warm_up(call: Call, *, timer: Timer, seconds: float) -> int:
    """Call until its time is stable, or until ``seconds`` have passed; the number of calls (at least two)."""
    started, times = time.perf_counter(), [timer(call), timer(call)]
    while time.perf_counter() - started < seconds:
        times.append(timer(call))
        if len(times) >= 6:
            before, now = median(times[-6:-3]), median(times[-3:])
            if abs(now - before) <= STABLE * before:
                break
    return len(times)


def _timer(device: str) -> Timer:
    return _cuda_timer() if device.startswith("cuda") else _wall_clock


def _wall_clock(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _cuda_timer() -> Timer:
    import torch

    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def timer(call: Call) -> float:
        # The queue is empty when the first event is recorded, so launch overhead counts, and work before does not.
        torch.cuda.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    return timer
