"""A finished search, made by hand: 24 trials on a made-up front, a budget on latency and one on quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.core.measurement import Measurement
from autocompress.core.objective import BUILTIN, parse_budgets
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.core.target import Target
from autocompress.core.trial import Trial
from autocompress.pipeline.layers import LayerSaving
from autocompress.pipeline.result import SearchResult

BUDGETS = parse_budgets(["75%", "quality=0.97"])
DENSE = {"quality": 1.0, "latency": 0.038, "memory": 250e6, "size": 90.9e6}


def _trial(number: int, generator: np.random.Generator) -> Trial:
    """The harder it compresses, the faster and the worse; every sixth from the fourth on fails."""
    share = number / 23
    layers = {f"layer.{i}.dense": LayerPolicy((Step("int8"),)) for i in range(int(share * 30))}
    layers |= {f"layer.{i}:ffn": LayerPolicy((Step("ffn-neurons", {"keep": 0.75}),)) for i in range(int(share * 6))}
    stage = "sweep" if number < 10 else "tpe"
    if number % 6 == 4:
        return Trial(number, Policy(layers), stage, state="failed", cause="out of memory, [red]really[/]", seconds=0.1)
    latency = 0.038 * (1 - 0.55 * share) * float(generator.normal(1, 0.01))
    quality = 1 - 0.06 * share**2 - abs(float(generator.normal(0, 0.002)))
    values = {
        "quality": quality,
        "latency": latency,
        "memory": 250e6 - 60e6 * share,
        "size": 90.9e6 * (1 - 0.7 * share),
    }
    return Trial(
        number,
        Policy(layers),
        stage,
        values=values,
        predicted={"latency": latency * 1.03},
        low={"latency": latency * 0.98},
        high={"latency": latency * 1.02},
        constraints={"latency": latency / 0.0285 - 1, "quality": (0.97 - quality) / 0.97},
        seconds=1.5,
    )


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., SearchResult]:
    """Makes the result of a search whose run folder is the test's own."""
    return lambda **changes: _result(tmp_path, **changes)


def _result(folder: Path, **changes: Any) -> SearchResult:
    """The whole answer; it is not kept unless ``best`` is given."""
    generator = np.random.default_rng(0)
    trials = tuple(_trial(number, generator) for number in range(24))
    front = tuple(sorted((t for t in trials if t.feasible), key=lambda t: -t.values["quality"]))
    nearest = front[0]
    baseline = {name: Measurement.exact(value) for name, value in DENSE.items()}
    baseline["latency"] = Measurement(((0.0375, 0.038),), 0.038, 0.0372, 0.0389)
    latency = nearest.values["latency"]
    fields: dict[str, Any] = {
        "out": folder,
        "target": Target(threads=2),
        "objectives": BUILTIN,
        "budgets": BUDGETS,
        "baseline": baseline,
        "trials": trials,
        "front": front,
        "best": None,
        "nearest": nearest,
        "policy": nearest.policy,
        "verdicts": (),
        "verified": {"latency": Measurement(((latency,),) * 3, latency, latency * 0.97, latency * 1.03)},
        "test": {"quality": 0.9812, "p5": 0.9523, "retrieval": 0.871, "dense_retrieval": 0.882},
        "sweep": {"hypervolume": 0.93, "sweep_hypervolume": 0.9, "added": 0.03},
        "accuracy": {"mape": 0.021, "bias": 0.004, "sd": 0.02, "claimed_sd": 0.025, "count": 20.0, "additivity": 1.3},
        "seconds": {"search": 100.0},
        "layers": (LayerSaving("block.0:ffn", "int8", 1e-3, 5e-4, None, 0.01),),
        "metric": "mean cosine",
        "replay": "autocompress search demo --budget 75%",
    }
    return SearchResult(**(fields | changes))
