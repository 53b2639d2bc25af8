"""The Optuna study: asks for knobs, keeps each policy as one user attribute, tells values, survives interruption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import optuna
from optuna.trial import TrialState

from autocompress.basics.schema import shaped
from autocompress.engine.knobs import Knobs
from autocompress.engine.problem import Assignment, Forecast, Outcome, Problem
from autocompress.engine.trial import Proposal, Trial
from autocompress.errors import RunError

Z = 1.0
_STATES = (TrialState.COMPLETE, TrialState.FAIL)
REMEDY = "delete journal.log: what was measured is kept in measurements.jsonl."


@dataclass(frozen=True)
class _Started:
    """What is written down of a trial before it is evaluated, under the names of the file; `stage` is its proposer."""

    stage: str
    policy: Assignment
    predicted: Mapping[str, float]
    predicted_sd: Mapping[str, float]


@dataclass(frozen=True)
class _Finished(_Started):
    """And once it was evaluated."""

    outcome: Outcome


S = TypeVar("S", bound=_Started)


def _damaged(frozen: optuna.trial.FrozenTrial, what: str) -> RunError:
    return RunError(f"journal.log: trial {frozen.number}: {what}; {REMEDY}")


class Ledger:
    """One study. Trials without a policy attribute were asked for and screened out; they never count."""

    def __init__(self, problem: Problem, knobs: Knobs, study: optuna.Study) -> None:
        self.problem = problem
        self.study = study
        self.space = knobs.distributions()

    def restore(self) -> tuple[list[Trial], list[Proposal]]:
        """Finished trials of an earlier run, and proposals that were out when it stopped, each in order.

        The latter stay open in the journal until they are started again: a second kill must not lose them.
        """
        pending: list[Proposal] = []
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "outcome" in frozen.user_attrs:  # killed between the last two lines of `finish`
                self._close(frozen.number, self._stored(frozen, _Finished).outcome)
            elif "policy" in frozen.user_attrs:
                started = self._stored(frozen, _Started)
                forecast = Forecast(started.predicted, started.predicted_sd)
                pending.append(Proposal(frozen.number, started.policy, started.stage, forecast))
            else:
                self.drop(frozen.number)
        while self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.tell(self.study.ask(self.space), state=TrialState.FAIL)
        done = [
            trial
            for frozen in self.study.get_trials(deepcopy=False, states=_STATES)
            if (trial := self._read(frozen)) is not None
        ]
        return done, pending

    def _read(self, frozen: optuna.trial.FrozenTrial) -> Trial | None:
        attrs = frozen.user_attrs
        if "outcome" not in attrs:
            return None
        stored = self._stored(frozen, _Finished)
        outcome, forecast = stored.outcome, Forecast(stored.predicted, stored.predicted_sd)
        if outcome.cause is None and outcome != self._checked(outcome):
            raise _damaged(frozen, f"outcome.values: {self._checked(outcome).cause}")
        return self._trial(frozen.number, stored.stage, stored.policy, outcome, forecast)

    def _stored(self, frozen: optuna.trial.FrozenTrial, kind: type[S]) -> S:
        """What was written down of a trial, of its shape and for this problem. Raises RunError for anything else."""
        attrs = {name: value for name, value in frozen.user_attrs.items() if name != "cause"}
        found = shaped(kind, attrs, f"journal.log: trial {frozen.number}", RunError, remedy=REMEDY)
        sizes = [len(unit.options) for unit in self.problem.units]
        if len(found.policy) != len(sizes) or not all(
            0 <= i < size for i, size in zip(found.policy, sizes, strict=True)
        ):
            raise _damaged(frozen, f"policy: expected an option for each of {len(sizes)} units")
        return found

    def _trial(self, number: int, proposer: str, policy: Assignment, outcome: Outcome, forecast: Forecast) -> Trial:
        limits = {} if outcome.cause else self.constraints(outcome)
        told = outcome.values, outcome.spread, limits, outcome.cause, outcome.seconds
        return Trial(number, proposer, policy, *told, forecast.values, forecast.sd)

    def ask(self, count: int) -> list[optuna.Trial]:
        """`count` trials whose knobs the sampler chose."""
        return [self.study.ask(self.space) for _ in range(count)]

    def ask_for(self, values: Mapping[str, float]) -> optuna.Trial:
        """A trial with these knobs."""
        self.study.enqueue_trial(dict(values))
        return self.study.ask(self.space)

    def knobs_of(self, number: int) -> dict[str, float]:
        """The knobs that a trial was asked for with."""
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def start_again(self, pending: Proposal) -> tuple[optuna.Trial, Proposal]:
        """A new trial for what an earlier run had out; the old one is closed once the new one is written down."""
        asked = self.ask_for(self.knobs_of(pending.number))
        self.start(asked, pending.assignment, pending.proposer, pending.forecast)
        self.drop(pending.number)
        return asked, replace(pending, number=asked.number)

    def drop(self, number: int) -> None:
        """Close a trial that an earlier run left open."""
        self.study.tell(number, state=TrialState.FAIL)

    def discard(self, asked: Sequence[optuna.Trial]) -> None:
        """Tell FAIL, which samplers ignore."""
        for trial in asked:
            self.study.tell(trial, state=TrialState.FAIL)

    def start(self, asked: optuna.Trial, policy: Assignment, proposer: str, forecast: Forecast) -> None:
        """Write down the policy and what is expected of it, before it is evaluated."""
        asked.set_user_attr("stage", proposer)
        asked.set_user_attr("predicted", dict(forecast.values))
        asked.set_user_attr("predicted_sd", dict(forecast.sd))
        asked.set_user_attr("policy", list(policy))

    def finish(
        self, asked: optuna.Trial, policy: Assignment, proposer: str, outcome: Outcome, forecast: Forecast
    ) -> Trial:
        """Tell what the evaluation found; a non-finite or missing value is a failure."""
        outcome = self._checked(outcome)
        stored = {
            "values": dict(outcome.values),
            "spread": dict(outcome.spread),
            "cause": outcome.cause,
            "seconds": outcome.seconds,
        }
        trial = self._trial(asked.number, proposer, policy, outcome, forecast)
        if outcome.cause is not None:
            asked.set_user_attr("cause", outcome.cause)
        for name, value in trial.constraints.items():
            asked.set_constraint(name, value)
        asked.set_user_attr("outcome", stored)
        self._close(asked.number, outcome)
        return trial

    def _close(self, number: int, outcome: Outcome) -> None:
        """Tell the sampler; everything else of the trial is written down."""
        if outcome.cause is not None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, [outcome.values[name] for name in self.problem.objectives])

    def _checked(self, outcome: Outcome) -> Outcome:
        if outcome.cause is not None:
            return Outcome({}, {}, outcome.cause, outcome.seconds)
        for name in (*self.problem.objectives, *(limit.name for limit in self.problem.limits)):
            if name not in outcome.values:
                return Outcome({}, {}, f"the evaluation returned no value for {name!r}", outcome.seconds)
            if not math.isfinite(outcome.values[name]):
                return Outcome({}, {}, f"{name} is {outcome.values[name]}", outcome.seconds)
        values = {name: float(value) for name, value in outcome.values.items()}
        return Outcome(values, {k: float(v) for k, v in outcome.spread.items()}, None, float(outcome.seconds))

    def constraints(self, outcome: Outcome) -> dict[str, float]:
        """(value + z * standard error - limit) / |limit| per limit; <= 0 is within."""
        found: dict[str, float] = {}
        for limit in self.problem.limits:
            value = outcome.values[limit.name] + Z * outcome.spread.get(limit.name, 0.0)
            excess = (value - limit.limit) / (abs(limit.limit) or 1.0)
            found[limit.name] = max(found.get(limit.name, -math.inf), excess)
        return found
