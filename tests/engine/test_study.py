"""Ask and tell: several proposals out, outcomes in any order, a kill with some of them out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from autocompress.engine import Assignment, Limit, Option, Outcome, Problem, Proposal, Resource, Stop, Study, Unit
from autocompress.storage.journal import journal_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)
UNITS = 12


def small(units: int = UNITS) -> Problem:
    rng = np.random.default_rng(0)
    made = []
    for i in range(units):
        scale = float(np.exp(rng.normal()))
        options = [Option("dense", (), {"latency": 1.0}, 0.0)]
        for bits in (8, 4):
            for ratio in (0.0, 0.25, 0.5):
                split = {"quantize": scale * 2.0 ** (-bits), "prune": scale * ratio**2}
                costs = {"latency": bits / 16 * (1 - ratio) + 0.05}
                options.append(Option(f"{bits} {ratio}", tuple(split), costs, sum(split.values()), split))
        made.append(Unit(f"u{i}", "linear", i / units, tuple(options)))
    return Problem(tuple(made), (Resource("latency", 0.0, 1.0, 0.01),), (Limit("latency", 0.55 * units),))


SPACE = small()


def score(policy: Assignment) -> Outcome:
    chosen = [unit.options[i] for unit, i in zip(SPACE.units, policy, strict=False)]
    loss = sum(option.damage for option in chosen) * (1 + 0.2 * np.sin(sum(policy))) + 1e-6
    return Outcome({"loss": loss, "latency": 1.03 * sum(option.costs["latency"] for option in chosen)}, {}, None, 0.01)


def spend(
    study: Study,
    at_once: int,
    turn: Callable[[int], int] = lambda _: 0,
    evaluate: Callable[[Assignment], Outcome] = score,
) -> list[Proposal]:
    """Keep `at_once` proposals out until the study is over; `turn` of how many are out says which is told next."""
    out: list[Proposal] = []
    asked: list[Proposal] = []
    while True:
        while len(out) < at_once and (proposal := study.ask()) is not None:
            out.append(proposal)
            asked.append(proposal)
        if not out:
            return asked
        proposal = out.pop(turn(len(out)))
        study.tell(proposal, evaluate(proposal.assignment))


@pytest.mark.parametrize("at_once", [2, 4])
@pytest.mark.parametrize("order", ["first", "last", "any"])
def test_outcomes_in_any_order_give_a_valid_study(at_once: int, order: str) -> None:
    shuffled = random.Random(3)
    turns = {"first": lambda _: 0, "last": lambda n: n - 1, "any": shuffled.randrange}
    study = Study(SPACE, Stop(40), seed=3)
    asked = spend(study, at_once, turns[order])
    found = study.outcome()
    assert study.over
    assert not study.waiting
    assert found.stopped_because == "trial limit of 40"
    assert [trial.number for trial in found.trials] == [proposal.number for proposal in asked]
    assert len({trial.assignment for trial in found.trials}) == 40
    for trial, proposal in zip(found.trials, asked, strict=True):
        assert trial.assignment == proposal.assignment
        assert trial.values == score(trial.assignment).values
        assert trial.predicted == proposal.forecast.values
    assert {trial.proposer for trial in found.trials} == {"sweep", "resolve", "tpe", "local"}
    assert found.front
    assert 0 < found.sweep_hypervolume <= found.hypervolume <= 1


def test_with_one_out_the_order_of_asking_is_the_order_of_telling() -> None:
    first, second = Study(SPACE, Stop(30), seed=1), Study(SPACE, Stop(30), seed=1)
    one = spend(first, 1)
    assert [proposal.assignment for proposal in one] == [proposal.assignment for proposal in spend(second, 1)]
    assert spend(Study(SPACE, Stop(30), seed=1), 4) == spend(Study(SPACE, Stop(30), seed=1), 4)


@pytest.mark.parametrize("told", [0, 9, 25])
@pytest.mark.parametrize("at_once", [2, 4])
def test_what_was_out_at_a_kill_comes_back_first(tmp_path: Path, told: int, at_once: int) -> None:
    def opened() -> Study:
        return Study(SPACE, Stop(36), seed=5, storage=journal_storage(tmp_path / "journal.log"))

    evaluated: list[Assignment] = []
    study = opened()
    for _ in range(told):
        proposal = study.ask()
        assert proposal is not None
        evaluated.append(proposal.assignment)
        study.tell(proposal, score(proposal.assignment))
    lost = [proposal for _ in range(at_once) if (proposal := study.ask()) is not None]
    again = opened()
    back = again.ask()
    assert back is not None
    again = opened()  # killed once more: one of them was asked again, the others not yet
    returned = [proposal for _ in range(at_once) if (proposal := again.ask()) is not None]
    expected = {(p.assignment, p.proposer) for p in lost}
    assert {(p.assignment, p.proposer) for p in returned} == expected
    assert len(returned) == at_once
    forecasts = {p.assignment: p.forecast for p in lost}
    assert all(p.forecast == forecasts[p.assignment] for p in returned)
    for proposal in reversed(returned):
        evaluated.append(proposal.assignment)
        again.tell(proposal, score(proposal.assignment))
    evaluated += [proposal.assignment for proposal in spend(again, at_once)]
    found = again.outcome()
    assert len(evaluated) == len(set(evaluated)) == 36, "nothing was evaluated twice"
    assert sorted(trial.assignment for trial in found.trials) == sorted(evaluated), "nothing was lost"
    after = opened()
    assert after.ask() is None
    assert after.over
    assert after.outcome().trials == found.trials
    stored = optuna.load_study(study_name="autocompress", storage=journal_storage(tmp_path / "journal.log"))
    assert not stored.get_trials(states=(optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING))


def test_a_kill_between_writing_an_outcome_and_telling_the_sampler_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = Study(SPACE, Stop(8), seed=0, storage=journal_storage(path))
    told = []
    for cause in (None, "out of memory"):
        proposal = study.ask()
        assert proposal is not None
        before = path.read_bytes()
        told.append(study.tell(proposal, Outcome({}, cause=cause) if cause else score(proposal.assignment)))
        after = path.read_bytes()
        written = after[len(before) :].splitlines(keepends=True)
        path.write_bytes(before + b"".join(written[:-1]))
        study = Study(SPACE, Stop(8), seed=0, storage=journal_storage(path))
        assert study.outcome().trials == tuple(told)


@pytest.mark.parametrize("at_once", [1, 3, 30])
def test_no_more_are_out_than_the_limit_leaves(at_once: int) -> None:
    study = Study(SPACE, Stop(10), seed=0)
    out = [proposal for _ in range(at_once) if (proposal := study.ask()) is not None]
    assert len(out) == min(at_once, 10)
    assert study.waiting == (at_once < 10)
    asked = len(spend(study, at_once))
    assert asked == 10 - len(out)
    for proposal in out:
        study.tell(proposal, score(proposal.assignment))
    assert study.over
    assert len(study.outcome().trials) == 10


def test_a_time_limit_ends_asking_and_what_is_out_is_still_told() -> None:
    study = Study(SPACE, Stop(100, seconds=1e9), seed=0)
    out = study.ask()
    assert out is not None
    study._stop = Stop(100, seconds=0.0)
    assert study.ask() is None
    assert study.over
    assert not study.waiting
    study.tell(out, score(out.assignment))
    assert len(study.outcome().trials) == 1
    assert "time limit" in study.outcome().stopped_because


def test_proposals_of_a_space_that_is_used_up_wait_for_what_is_out() -> None:
    space = small(units=1)
    study = Study(space, Stop(100), seed=0)
    out = []
    while (proposal := study.ask()) is not None:
        out.append(proposal)
    assert study.waiting
    assert not study.over
    for proposal in out:
        study.tell(proposal, score(proposal.assignment))
    spend(study, 4)
    assert study.over
    found = study.outcome()
    assert "no policy is left" in found.stopped_because
    assert {trial.assignment for trial in found.trials} == {(i,) for i in range(7)}


def test_patience_counts_outcomes_not_questions() -> None:
    study = Study(SPACE, Stop(400, patience=3), seed=0)
    for _ in range(20):
        proposal = study.ask()
        assert proposal is not None
        study.tell(proposal, score(proposal.assignment))
    out = [study.ask() for _ in range(40)]
    assert all(out), "forty questions without an answer are no sign that the front has stopped moving"
    for proposal in out:
        assert proposal is not None
        study.tell(proposal, score(proposal.assignment))
    spend(study, 4)
    assert "stopped moving" in study.outcome().stopped_because
    assert len(study.outcome().trials) < 400


def test_failures_are_told_like_any_outcome_and_hopeless_ones_end_it() -> None:
    def fragile(policy: Assignment) -> Outcome:
        return Outcome({}, cause="kernel missing") if sum(policy) % 3 == 0 else score(policy)

    study = Study(SPACE, Stop(40), seed=1)
    spend(study, 3, lambda n: n - 1, fragile)
    found = study.outcome()
    assert len(found.trials) == 40
    assert 0 < sum(trial.failed for trial in found.trials) < 40
    assert all(trial.cause == "kernel missing" for trial in found.trials if trial.failed)
    assert found.front
    study = Study(SPACE, Stop(100), seed=1)
    late = study.ask()
    assert late is not None
    spend(study, 2, evaluate=lambda _: Outcome({}, cause="broken"))
    assert study.waiting, "the one that is out may yet succeed"
    study.tell(late, score(late.assignment))
    assert study.ask() is not None


def test_a_proposal_is_told_once_and_by_its_own_study() -> None:
    study, other = Study(SPACE, Stop(9), seed=0), Study(SPACE, Stop(9), seed=1)
    proposal = study.ask()
    assert proposal is not None
    travelled = replace(proposal)  # as from another process: equal, not the same
    with pytest.raises(ValueError, match="is not out"):
        other.tell(proposal, score(proposal.assignment))
    study.tell(travelled, score(proposal.assignment))
    with pytest.raises(ValueError, match="is not out"):
        study.tell(proposal, score(proposal.assignment))
