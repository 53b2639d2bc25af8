"""Policies that are better than dense: found, ranked by how much better they are, and never cut off at "no loss"."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from autocompress.engine import Assignment, Limit, Option, Outcome, Problem, Resource, Unit, search
from autocompress.engine.scale import apart, compress, expand, hoped
from autocompress.engine.space import Space
from autocompress.engine.trial import Trial

optuna.logging.set_verbosity(optuna.logging.ERROR)
UNITS = 8


def problem(known: bool) -> Problem:
    """Every unit has an option that gains; the tables know of it, or take it for a small loss."""
    units = []
    for i in range(UNITS):
        gain = -0.01 * (i + 1) if known else 0.002
        options = (
            Option("dense", (), {"latency": 1.0}, 0.0),
            Option("better", ("tune",), {"latency": 0.9}, gain, {"tune": gain}),
            Option("fast", ("cut",), {"latency": 0.5}, 0.05 * (i + 1)),
        )
        units.append(Unit(f"u{i}", "linear", i / UNITS, options))
    return Problem(tuple(units), (Resource("latency", 0.0, 1.0, 0.01),), (Limit("latency", 7.5),))


def truth(policy: Assignment) -> float:
    return sum({0: 0.0, 1: -0.01 * (i + 1), 2: 0.05 * (i + 1)}[option] for i, option in enumerate(policy))


def evaluate(policy: Assignment) -> Outcome:
    latency = sum({0: 1.0, 1: 0.9, 2: 0.5}[option] for option in policy)
    return Outcome({"loss": truth(policy), "latency": latency})


def test_the_scale_is_monotone_through_zero_and_logarithmic_far_from_it() -> None:
    losses = np.array([-10.0, -1e-2, -1e-6, 0.0, 1e-6, 1e-2, 10.0])
    scaled = compress(losses, 1e-4)
    assert np.all(np.diff(scaled) > 0)
    np.testing.assert_allclose(expand(scaled, 1e-4), losses, rtol=1e-9, atol=1e-15)
    assert compress(1.0, 1e-4) - compress(0.1, 1e-4) == pytest.approx(np.log(10), rel=1e-4)
    assert apart(0.2, 0.1) == pytest.approx(np.log(2), rel=1e-4)
    assert apart(-0.1, 0.1) < -1
    assert np.all(hoped(np.array([-1.0, 0.0, 1.0]), 0.5) <= np.array([-1.0, 0.0, 1.0]))
    assert hoped(-1.0, 0.5) < -1.0


@pytest.mark.parametrize("known", [True, False])
def test_the_best_policy_gains_and_is_found(known: bool) -> None:
    found = search(problem(known), evaluate, trials=40, seed=0)
    best = found.front[0]
    everything = (1,) * UNITS
    assert truth(everything) == pytest.approx(-0.36)
    assert best.values["loss"] < 0
    assert best.assignment == everything
    losses = [trial.values["loss"] for trial in found.front]
    assert losses == sorted(losses)
    assert len({round(loss, 9) for loss in losses}) == len(losses), "gains are told apart"
    informed = [trial for trial in found.trials if known or trial.proposer != "sweep"]
    gaining = [trial for trial in informed if trial.values["loss"] < -0.1]
    assert gaining
    assert all(trial.predicted["loss"] < 0 for trial in gaining), "what gains was predicted to gain"


def test_hypervolume_grows_with_every_gain() -> None:
    def trial(loss: float, latency: float) -> Trial:
        return Trial(0, "sweep", (0,), {"loss": loss, "latency": latency}, {}, {}, None, 0.0)

    space = Space(problem(known=True))
    space.anchor([trial(0.5, 4.0), trial(0.05, 7.0)])
    ideal = space.ideal([trial(-0.2, 4.0)])
    volumes = [space.dominated([trial(loss, 5.0)], ideal) for loss in (0.05, 0.0, -0.05, -0.1)]
    assert volumes == sorted(volumes)
    assert len(set(volumes)) == 4


def test_a_floor_above_dense_is_a_limit_like_any_other() -> None:
    base = problem(known=True)
    space = Problem(base.units, base.resources, (Limit("loss", -0.2), Limit("latency", 7.5)))
    found = search(space, evaluate, trials=30, seed=0)
    assert found.front
    assert all(trial.values["loss"] <= -0.2 for trial in found.front)
