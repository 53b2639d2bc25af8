"""The engine end to end on small synthetic problems: front, resume, failures, constraints, limits."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest

from autocompress.engine import (
    Assignment,
    Limit,
    Option,
    Outcome,
    Problem,
    Resource,
    SearchOutcome,
    Trial,
    Unit,
    search,
)
from autocompress.storage.journal import journal_storage
from tests.benchmarks.synthetic import build, problem, tables
from tests.benchmarks.truth import true_front

optuna.logging.set_verbosity(optuna.logging.ERROR)


def small(
    objectives: tuple[str, ...] = ("loss", "latency"), limits: tuple[Limit, ...] = (Limit("latency", 8.0),)
) -> Problem:
    rng = np.random.default_rng(0)
    units = []
    for i in range(15):
        scale = float(np.exp(rng.normal()))
        options = [Option("dense", (), {"latency": 1.0, "size": 1.0}, 0.0)]
        for bits in (8, 4):
            for ratio in (0.0, 0.25, 0.5):
                split = {"quantize": scale * 2.0 ** (-bits), "prune": scale * ratio**2}
                costs = {"latency": bits / 16 * (1 - ratio) + 0.05, "size": bits / 16 * (1 - ratio)}
                options.append(Option(f"{bits} {ratio}", tuple(split), costs, sum(split.values()), split))
        units.append(Unit(f"u{i}", "linear", i / 14, tuple(options)))
    return Problem(tuple(units), (Resource("latency", 0.0, 1.0, 0.01), Resource("size")), limits, objectives)


def score(space: Problem, policy: Assignment) -> Outcome:
    chosen = [unit.options[i] for unit, i in zip(space.units, policy, strict=True)]
    loss = sum(option.damage for option in chosen) * (1 + 0.2 * np.sin(sum(policy))) + 1e-6
    latency = 1.03 * sum(option.costs["latency"] for option in chosen)
    size = sum(option.costs["size"] for option in chosen)
    values = {"loss": loss, "latency": latency, "size": size, "energy": latency * 2 + size, "wear": float(sum(policy))}
    return Outcome(values, {"latency": 0.01 * latency}, None, 0.01)


def run(space: Problem, trials: int = 40, **options: object) -> SearchOutcome:
    return search(space, lambda policy: score(space, policy), trials=trials, seed=3, **options)  # type: ignore[arg-type]


def test_every_trial_was_predicted_before_it_was_evaluated(tmp_path: Path) -> None:
    space = small()
    storage = journal_storage(tmp_path / "journal.log")
    found = run(space, 24, storage=storage)
    for trial in found.trials:
        assert {"loss", "latency"} <= trial.predicted.keys()
        assert trial.predicted_sd["latency"] > 0
    late = [trial for trial in found.trials if trial.proposer != "sweep"]
    errors = [abs(trial.predicted["latency"] / trial.values["latency"] - 1) for trial in late]
    assert np.mean(errors) < 0.02, "the line of 3 % was learned"
    again = run(space, 24, storage=storage)
    assert [trial.predicted for trial in again.trials] == [trial.predicted for trial in found.trials]


def test_races_look_at_few_rows_and_the_sampler_never_hears_of_them() -> None:
    space, looked, evaluated = small(), [], []

    def screen(policy: Assignment, rung: int) -> list[float]:
        looked.append((policy, rung))
        return [score(space, policy).values["loss"]] * 4

    def evaluate(policy: Assignment) -> Outcome:
        evaluated.append(policy)
        outcome = score(space, policy)
        # Far from what the tables say, and from one policy to the next: a surrogate has reason to doubt.
        return Outcome({**outcome.values, "loss": outcome.values["loss"] * (1 + (sum(policy) % 5))}, outcome.spread)

    study = optuna.storages.InMemoryStorage()
    found = search(space, evaluate, trials=40, seed=3, screen=screen, storage=study)
    assert looked
    assert len(found.trials) == len(evaluated) == 40
    told = [t for t in study.get_all_trials(0) if t.state is optuna.trial.TrialState.COMPLETE]
    assert len(told) == 40
    assert all(trial.values["loss"] == evaluate(trial.assignment).values["loss"] for trial in found.trials)


def test_known_front_after_twenty_sweep_evaluations() -> None:
    truth = build("interacting", 48, 0)
    front = true_front(truth, prices=32)
    assert front.gap < 0.25
    parts, _ = tables(truth, probes=1)
    found = search(
        problem(truth, parts, front.limit), truth.evaluate, trials=20, seed=0, stages=frozenset({"sweep", "resolve"})
    )
    array = np.array([trial.assignment for trial in found.trials])
    assert front.fraction(truth.losses(array), truth.latencies(array), truth.memories(array)) >= 0.90


def test_front_is_feasible_and_undominated_and_the_sweep_is_reported() -> None:
    found = run(small())
    assert len(found.trials) == 40
    assert len({trial.assignment for trial in found.trials}) == 40
    assert found.stopped_because == "trial limit of 40"
    for trial in found.front:
        assert trial.feasible
        assert trial.values["latency"] <= 8.0
    latencies = [trial.values["latency"] for trial in found.front]
    assert latencies == sorted(latencies, reverse=True)
    assert 0 < found.sweep_hypervolume <= found.hypervolume <= 1
    assert found.added == pytest.approx(found.hypervolume - found.sweep_hypervolume)
    assert re.search(r"on the front: \d+ of 13 by sweep, \d+ of \d+ by resolve, \d+ of \d+ by tpe", found.verdict)
    assert found.reference["latency"] == 8.0
    assert {trial.proposer for trial in found.trials} == {"sweep", "resolve", "tpe", "local"}


def test_nothing_added_is_said() -> None:
    found = run(small(), trials=5)
    assert found.added == 0
    assert "added nothing" in found.verdict


def test_after_the_sweep_every_third_policy_is_the_samplers() -> None:
    truth = build("interacting", 12, 0)
    parts, _ = tables(truth, probes=1)
    turns = ["resolve", "tpe", "resolve"] * 9

    def later(found: SearchOutcome) -> list[str]:
        return [trial.proposer for trial in found.trials if trial.proposer != "sweep"]

    proposers = later(search(problem(truth, parts, 10.0), truth.evaluate, trials=36, seed=0))
    assert proposers == turns[: len(proposers)]
    for proposer, turn in zip(later(run(small())), turns, strict=True):
        assert proposer in (turn, "local"), "a local move where whoever's turn it is finds nothing new"


def test_same_seed_gives_the_same_trials() -> None:
    first, second = run(small()), run(small())
    assert [trial.assignment for trial in first.trials] == [trial.assignment for trial in second.trials]


def test_constraint_is_positive_beyond_the_limit_and_counts_the_spread() -> None:
    found = run(small(limits=(Limit("latency", 8.0), Limit("size", 6.0))))
    for trial in found.trials:
        latency, size = trial.values["latency"], trial.values["size"]
        assert trial.constraints["latency"] == pytest.approx((1.01 * latency - 8.0) / 8.0)
        assert trial.constraints["size"] == pytest.approx((size - 6.0) / 6.0)
        assert trial.feasible == (1.01 * latency <= 8.0 and size <= 6.0)


def test_optuna_sees_knobs_policy_and_constraints() -> None:
    storage = optuna.storages.InMemoryStorage()
    run(small(), storage=storage, study_name="seen")
    study = optuna.load_study(study_name="seen", storage=storage)
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert len(done) == 40
    for trial in done:
        assert 5 <= len(trial.params) <= 14
        assert len(trial.user_attrs["policy"]) == 15
        assert trial.constraints.keys() == {"latency"}


def test_failures_are_recorded_and_the_search_goes_on() -> None:
    space = small()
    storage = optuna.storages.InMemoryStorage()

    def fragile(policy: Assignment) -> Outcome:
        if sum(policy) % 3 == 0:
            raise RuntimeError("kernel missing")
        if sum(policy) % 3 == 1 and policy[0] == 1:
            return Outcome({}, cause="out of memory")
        if policy[1] == 1:
            return Outcome({"loss": float("nan"), "latency": 1.0})
        return score(space, policy)

    found = search(space, fragile, trials=40, seed=1, storage=storage, study_name="f")
    failed = [trial for trial in found.trials if trial.failed]
    assert len(found.trials) == 40
    assert 0 < len(failed) < 40
    assert found.front
    assert any("kernel missing" in str(trial.cause) for trial in failed)
    study = optuna.load_study(study_name="f", storage=storage)
    stored = [t for t in study.trials if "cause" in t.user_attrs]
    assert len(stored) == len(failed)
    assert all(t.state == optuna.trial.TrialState.FAIL for t in stored)


def test_search_ends_when_everything_fails() -> None:
    found = search(small(), lambda _: Outcome({}, cause="broken"), trials=100, seed=0)
    assert len(found.trials) < 100
    assert "failed" in found.stopped_because
    assert "broken" in found.stopped_because


@pytest.mark.parametrize("stop_at", [4, 21, 30])
def test_resume_after_interruption(tmp_path: Path, stop_at: int) -> None:
    space = small()
    calls: list[Assignment] = []

    def storage() -> optuna.storages.JournalStorage:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "log")))

    def interrupted(policy: Assignment) -> Outcome:
        calls.append(policy)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return score(space, policy)

    with pytest.raises(KeyboardInterrupt):
        search(space, interrupted, trials=36, seed=5, storage=storage(), study_name="r")
    lost = calls[-1]
    seen: list[Trial] = []
    found = search(space, interrupted, trials=36, seed=5, storage=storage(), study_name="r", on_trial=seen.append)
    assert seen[0].assignment == lost
    assert len(found.trials) == 36
    assert len(seen) == 36 - (stop_at - 1)
    assert len(calls) == 37
    assert len({trial.assignment for trial in found.trials}) == 36
    again = search(space, interrupted, trials=36, seed=5, storage=storage(), study_name="r")
    assert len(calls) == 37
    assert [t.assignment for t in again.trials] == [t.assignment for t in found.trials]


@pytest.mark.parametrize(
    "objectives", [("loss", "latency", "size"), ("loss", "latency", "size", "wear"), ("loss", "energy")]
)
def test_two_to_four_objectives_custom_ones_included(objectives: tuple[str, ...]) -> None:
    found = run(small(objectives, (Limit("latency", 9.0), Limit("wear", 80.0))), trials=36)
    assert found.front
    assert found.reference.keys() == set(objectives)
    assert all(trial.values["wear"] <= 80.0 and trial.values["latency"] <= 9.0 for trial in found.front)


def test_time_limit_and_patience_stop() -> None:
    assert "time limit" in run(small(), trials=10_000, seconds=0.0).stopped_because
    found = run(small(), trials=400, patience=3)
    assert len(found.trials) < 400
    assert "stopped moving" in found.stopped_because


def test_a_space_that_is_used_up_ends() -> None:
    unit = small().units[0]
    space = Problem((unit, unit), (Resource("latency"), Resource("size")))
    found = run(space, trials=200)
    assert len(found.trials) <= 49
    assert "no policy is left" in found.stopped_because


def test_another_sampler() -> None:
    found = run(small(), sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert len(found.trials) == 40


def test_samplers_by_name_are_those_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noted(kind: type, **given: object) -> object:
        made.append(kind.__name__)
        return kind(**given)

    for name in ("NSGAIISampler", "RandomSampler"):
        monkeypatch.setattr(optuna.samplers, name, partial(noted, getattr(optuna.samplers, name)))
    assert len(run(small(), 12, sampler="nsga2").trials) == 12
    assert "NSGAIISampler" in made
    run(small(), 4, sampler="random")
    assert "RandomSampler" in made
    with pytest.raises(ValueError, match="'nsga3' is not known: expected one of tpe, nsga2, random"):
        run(small(), 4, sampler="nsga3")
