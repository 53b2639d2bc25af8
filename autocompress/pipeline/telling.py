"""From the engine's trials to what people and plugins are told of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autocompress.basics.units import format_seconds
from autocompress.core.objective import MAXIMIZE
from autocompress.core.progress import Event, Progress
from autocompress.core.trial import Trial
from autocompress.engine import LOSS
from autocompress.engine import Trial as EngineTrial
from autocompress.pipeline.plan import Plan
from autocompress.pipeline.trials import Dense, Trials
from autocompress.request.setup import Setup


@dataclass(frozen=True)
class Reader:
    """Reads an engine trial as a `Trial`: a policy, values in their own direction, predictions."""

    setup: Setup
    plan: Plan
    dense: Dense
    trials: Trials

    def trial(self, found: EngineTrial, number: int) -> Trial:
        """``number`` counts evaluated policies; Optuna's own also counts those that were screened out."""
        policy = self.plan.table.policy(found.assignment)
        if found.failed:
            return Trial(number, policy, found.proposer, state="failed", seconds=found.seconds, cause=found.cause or "")
        values = {name: float(value) for name, value in found.values.items() if name != LOSS}
        predicted = {name: float(value) for name, value in found.predicted.items() if name != LOSS}
        for objective in self.setup.names.objectives:
            if objective.direction == MAXIMIZE:
                values[objective.name] = -values[objective.name]
                predicted.pop(objective.name, None)
        values = {"quality": self.trials.details(policy)["quality"], **values}
        if LOSS in found.predicted:
            predicted["quality"] = self.dense.quality - found.predicted[LOSS]
        spread = {name: 1.645 * sd for name, sd in found.spread.items()}
        return Trial(
            number=number,
            policy=policy,
            stage=found.proposer,
            values=values,
            predicted=predicted,
            low={name: values[name] - half for name, half in spread.items() if name in values},
            high={name: values[name] + half for name, half in spread.items() if name in values},
            constraints=dict(found.constraints),
            seconds=found.seconds,
        )


class Teller:
    """Tells progress and the ``trial_finished`` hook of every trial; ``before`` were told by an earlier run."""

    def __init__(self, read: Reader, progress: Progress, setup: Setup, before: int) -> None:
        self._read, self._progress, self._setup = read, progress, setup
        self._started, self._done, self._before = time.monotonic(), 0, before
        self._best: Trial | None = None
        self._failing: set[str] = set()

    def told(self, found: EngineTrial) -> None:
        """One more trial."""
        trial = self._read.trial(found, self._before + self._done)
        for plugin, words in self._setup.registry.tell_trial(trial).items():
            if plugin not in self._failing:  # every trial would say the same
                self._progress(Event("search", message=f"{words}; the search goes on", note=True))
            self._failing.add(plugin)
        self._done += 1
        if trial.feasible and (self._best is None or trial.values["quality"] > self._best.values["quality"]):
            self._best = trial
        message = f"trial {trial.number} ({trial.stage})" if trial.state == "complete" else f"failed: {trial.cause}"
        total = self._setup.request.trials or 0
        self._progress(Event("search", self._before + self._done, total, message, self._words(), self._left()))

    def _words(self) -> str:
        if self._best is None:
            return ""
        values = self._best.values
        return f"quality {values['quality']:.4f} at {format_seconds(values['latency'])}"

    def _left(self) -> float:
        """Seconds until the first of the limits that the request has, at the pace so far."""
        request, spent = self._setup.request, time.monotonic() - self._started
        by_time = max(0.0, request.seconds - spent) if request.seconds is not None else float("inf")
        left = max(0, request.most_trials - self._before - self._done)
        return min(by_time, left * spent / max(1, self._done))
