"""What was kept is on the front that is written, whatever the search thought of it; a front is never empty."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autocompress.core.measurement import Measurement
from autocompress.core.objective import parse_budget
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.core.trial import Trial
from autocompress.engine import Limit, Option, Problem, Resource, SearchOutcome, Unit
from autocompress.engine import Trial as EngineTrial
from autocompress.measure.verdict import judge
from autocompress.pipeline.front import front_of
from autocompress.pipeline.verify import Verified

OPTIONS = (Option("dense", (), {"latency": 1.0}, 0.0), Option("int8", ("int8",), {"latency": 0.5}, 0.1))
PROBLEM = Problem((Unit("a", "linear", 0.0, OPTIONS),), (Resource("latency"),), (Limit("latency", 0.8),))


def pair(number: int, loss: float, latency: float) -> tuple[EngineTrial, Trial]:
    excess = {"latency": (latency - 0.8) / 0.8}
    values = {"loss": loss, "latency": latency}
    policy = Policy({"a": LayerPolicy((Step("int8", {"n": number}),))})
    own = {"quality": 1 - loss, "latency": latency}
    return (
        EngineTrial(number, "sweep", (1,), values, {}, excess, None, 0.0),
        Trial(number, policy, "sweep", values=own, constraints=excess),
    )


def outcome(pairs: list[tuple[EngineTrial, Trial]]) -> SearchOutcome:
    trials = tuple(one for one, _ in pairs)
    return SearchOutcome(trials, tuple(t for t in trials if t.feasible), (), (), "", {}, 0.0, 0.0)


def kept(trial: Trial, seconds: float) -> Verified:
    measured = Measurement(((seconds,),), seconds, seconds * 0.99, seconds * 1.01)
    verdict = judge(parse_budget("latency=800ms"), measured)
    assert verdict.kept
    return Verified(SimpleNamespace(), trial.policy, None, (verdict,), {"latency": measured})  # type: ignore[arg-type]


def test_kept_in_fresh_processes_though_the_search_found_it_over() -> None:
    pairs = [pair(0, 0.1, 0.81), pair(1, 0.3, 0.9)]
    front = front_of(PROBLEM, outcome(pairs), [trial for _, trial in pairs], kept(pairs[0][1], 0.75))
    assert [trial.number for trial in front] == [0]
    assert front[0].feasible
    assert front[0].values["latency"] == 0.75
    assert front[0].high["latency"] == pytest.approx(0.7575)
    assert front[0].values["quality"] == 0.9, "of the search split, as all of the front"
    assert front[0].constraints["latency"] == pytest.approx((0.7575 - 0.8) / 0.8)


def test_what_was_kept_replaces_its_own_trial_once() -> None:
    pairs = [pair(0, 0.1, 0.7), pair(1, 0.05, 0.79), pair(2, 0.5, 0.79)]
    found = outcome(pairs)
    found = SearchOutcome(found.trials, found.trials[:2], (), (), "", {}, 0.0, 0.0)
    front = front_of(PROBLEM, found, [trial for _, trial in pairs], kept(pairs[2][1], 0.78))
    assert [trial.number for trial in front] == [1, 0, 2]


def test_without_a_feasible_trial_the_front_lists_what_there_is() -> None:
    pairs = [pair(0, 0.1, 0.9), pair(1, 0.3, 0.85), pair(2, 0.4, 0.95)]
    front = front_of(PROBLEM, outcome(pairs), [trial for _, trial in pairs], Verified(nearest=pairs[1][1]))
    assert [trial.number for trial in front] == [0, 1]
    assert not any(trial.feasible for trial in front)
