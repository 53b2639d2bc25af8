"""The promise: candidates are saved, reloaded, measured in fresh processes, and only what is kept becomes ``best/``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import stdev
from typing import Any

from autocompress.artifact import Artifact, annotate, load
from autocompress.contracts.evaluator import Batch, Score, inputs_of
from autocompress.contracts.runtime import Program
from autocompress.core.measurement import Measurement
from autocompress.core.objective import Budget
from autocompress.core.policy import Policy
from autocompress.core.progress import Event, Progress
from autocompress.core.trial import Trial
from autocompress.errors import NothingRunsError, TrialError
from autocompress.measure.interval import interval
from autocompress.measure.verdict import (
    KEPT,
    MISSED,
    MOST_SESSIONS,
    Verdict,
    judge,
    judge_sessions,
    needs_more,
    overall,
)
from autocompress.pipeline.baseline import origin
from autocompress.pipeline.plan import Plan
from autocompress.pipeline.saving import save_policy
from autocompress.request.setup import Setup, base_of
from autocompress.sessions import Session, run_session
from autocompress.sessions.parent import limit_after, once_more
from autocompress.storage.folder import RunFolder

MOST_CANDIDATES = 5
TIMED = frozenset({"latency", "latency.p95", "memory"})
"""Objectives that a fresh process tells."""
NEAR = 0.02
"""How far over a limit a candidate may be by the search's own measurement, when none is within."""
Z = 1.645
Judged = tuple[Trial, tuple[Verdict, ...], Mapping[str, Measurement]]


@dataclass(frozen=True)
class Verified:
    """The verified artifact, or the nearest miss and its verdicts."""

    artifact: Artifact | None = None
    policy: Policy | None = None
    nearest: Trial | None = None
    verdicts: tuple[Verdict, ...] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)


def verify(
    setup: Setup,
    plan: Plan,
    folder: RunFolder,
    trials: Sequence[Trial],
    figures: Mapping[str, float],
    dense: Sequence[Session],
    progress: Progress,
) -> Verified:
    """Confirm candidates best-first until one keeps every budget; else name the nearest."""
    judged: list[Judged] = []
    failures = 0
    scores = _Scores(setup, folder)
    confirm = _Confirm(setup, folder, dense, figures, scores, progress)
    for trial in _ranked(trials, progress):
        if len(judged) + failures == MOST_CANDIDATES:
            break
        if not _worth_trying(trial, judged):
            continue
        number = f"candidate {len(judged) + failures + 1}"
        progress(Event("verify", message=f"{number}: saving and reloading"))
        try:
            artifact = save_policy(setup, trial.policy, plan.statistics, folder.candidates / trial.policy.digest())
            verdicts, measured = confirm(trial, artifact, number)
        except TrialError as error:  # a session that crashed or hung, outputs that cannot be scored: the next one
            failures += 1
            progress(Event("verify", message=f"{number} failed: {error}", note=True))
            continue
        judged.append((trial, verdicts, measured))
        progress(Event("verify", message=" ".join(verdict.reason for verdict in verdicts), note=True))
        if overall(verdicts) == KEPT:
            progress(Event("verify", message="scoring the test split"))
            test = {**scores.test(artifact.program, trial.policy), "search": trial.values["quality"]}
            annotate(
                artifact.path,
                budgets=tuple(verdict.to_json() for verdict in verdicts),
                measurements={name: measurement.to_json() for name, measurement in measured.items()},
                quality=dict(test),
            )
            at, device = folder.publish(artifact.path), setup.target.device
            best = load(at, base=base_of(setup), device=device, registry=setup.registry)
            return Verified(best, trial.policy, None, verdicts, measured, test)
    shutil.rmtree(folder.candidates, ignore_errors=True)
    return _nearest(setup, trials, judged, figures)


@dataclass(frozen=True)
class _Confirm:
    """Verdicts on reloaded artifacts, each over as many fresh processes as it takes."""

    setup: Setup
    folder: RunFolder
    dense: Sequence[Session]
    figures: Mapping[str, float]
    scores: _Scores
    progress: Progress

    def __call__(
        self, trial: Trial, artifact: Artifact, number: str
    ) -> tuple[tuple[Verdict, ...], Mapping[str, Measurement]]:
        names = self.setup.names
        quality = self.scores.of(artifact.program, "selection", trial.policy)
        qualities = (quality, self.scores.dense("selection"))
        custom = {o.name: float(o.function(artifact.model)) for o in names.objectives if o.function is not None}
        sessions: list[Session] = []
        # Where no budget waits for sessions, one of them tells the figures that the user sees beside.
        least = self.setup.request.sessions if TIMED & {budget.objective.name for budget in names.budgets} else 1
        while True:
            verdicts, measured = _judge(names.budgets, sessions, self.dense, artifact, qualities, custom, self.figures)
            missed = overall(verdicts) == MISSED and not sessions  # by its bytes, say: no clock can help it
            if missed or not needs_more(verdicts, len(sessions), least=least, most=MOST_SESSIONS):
                return verdicts, measured
            self.progress(Event("verify", len(sessions), least, f"{number}: session {len(sessions) + 1}"))
            key = f"session/{trial.policy.digest()}/{len(sessions)}"
            known = (*self.dense, *sessions)
            stored = self.folder.store.memo(key, partial(self._session, artifact.path, len(sessions), known))
            sessions.append(Session.from_json(stored))

    def _session(self, folder: Path, number: int, known: Sequence[Session]) -> dict[str, Any]:
        """One more session; ``known`` are those before it, which tell how long it may take."""
        request = self.setup.request

        def session() -> Session:
            return run_session(
                folder,
                target=self.setup.target,
                seed=request.seed + number,
                base=base_of(self.setup),
                dense=origin(self.setup),
                timeout=limit_after(known),
                plugins=request.plugins,
            )

        return once_more(session, lambda said: self.progress(Event("verify", message=said, note=True))).to_json()


class _Scores:
    """Quality of programs on the rows that the search did not see; stored by policy."""

    def __init__(self, setup: Setup, folder: RunFolder) -> None:
        self._setup, self._store = setup, folder.store
        self._reference: dict[str, Any] = {}

    def of(self, program: Program, rows: str, policy: Policy) -> Score:
        """The score on one split; raises TrialError when the outputs cannot be scored."""

        def measure() -> dict[str, Any]:
            score = self._score(program, rows)
            return {"value": score.value, "details": dict(score.details), "per_row": list(score.per_row)}

        stored = self._store.memo(f"{rows}/{policy.digest()}", measure)
        return Score(stored["value"], stored["details"], tuple(stored["per_row"]))

    def test(self, program: Program, policy: Policy) -> dict[str, float]:
        """Quality and details on the test split, and the gap from search to selection to test."""
        final, selection = self.of(program, "test", policy), self.of(program, "selection", policy)
        found = {"quality": final.value, **final.details, "selection": selection.value}
        dense = self.dense("test").value
        return found if dense == 1.0 else {"dense_quality": dense, **found}

    def dense(self, rows: str) -> Score:
        """The dense model's own score on one split: 1 for a fidelity, a figure of its own for a metric on labels."""
        return self.of(self._setup.program, rows, Policy())

    def _score(self, program: Program, rows: str) -> Score:
        batches = self._setup.rows[rows]

        def run(call: Program) -> Any:
            def one(batch: Batch) -> Any:
                return call(inputs_of(batch))

            return one

        if rows not in self._reference:
            self._reference[rows] = self._setup.evaluator.reference(run(self._setup.program), batches)
        return self._setup.evaluator.score(run(program), batches, self._reference[rows])


def _ranked(trials: Sequence[Trial], progress: Progress) -> list[Trial]:
    """Feasible trials, best quality first; the nearest ones when there is none."""
    done = [trial for trial in trials if trial.state == "complete"]
    within = [trial for trial in done if trial.feasible]
    if not within:
        within = [trial for trial in done if max(trial.constraints.values(), default=0.0) <= NEAR]
    progress(Event("verify", message=f"{len(within)} candidates within the budgets"))
    distinct = {trial.policy.digest(): trial for trial in within}
    # Qualities that agree to four decimals are told apart by nobody: the faster one leaves room under the budget.
    return sorted(distinct.values(), key=lambda trial: (-round(trial.values["quality"], 4), trial.values["latency"]))


def _worth_trying(trial: Trial, judged: Sequence[Judged]) -> bool:
    """Not, when an earlier candidate shows that what was measured in the search must be off by more than its margin."""
    for earlier, verdicts, _ in judged:
        for verdict in verdicts:
            name = verdict.budget.name
            if verdict.kept or name not in trial.values or name == "quality":
                continue
            bound = verdict.upper if verdict.budget.objective.direction == "minimize" else verdict.lower
            scale = bound / earlier.values[name]
            over = trial.values[name] * scale > verdict.limit
            if over == (verdict.budget.objective.direction == "minimize"):
                return False
    return True


def _judge(
    budgets: Sequence[Budget],
    sessions: Sequence[Session],
    dense: Sequence[Session],
    artifact: Artifact,
    qualities: tuple[Score, Score],
    custom: Mapping[str, float],
    figures: Mapping[str, float],
) -> tuple[tuple[Verdict, ...], dict[str, Measurement]]:
    """One verdict a budget that can be judged yet, and everything that was measured.

    qualities   of the artifact and of the dense model.
    """
    quality, dense_quality = qualities
    measured = {"size": Measurement.exact(float(artifact.size)), "quality": _of_rows(quality)}
    measured |= {name: Measurement.exact(value) for name, value in custom.items()}
    times, reference = [s.latency for s in sessions], [s.dense_latency for s in sessions]
    pooled = [s.dense_latency for s in dense]
    if sessions:
        measured["latency"] = interval(times)
        measured["latency.p95"] = interval(times, statistic="p95")
        measured["memory"] = interval([[s.memory] for s in sessions])
    verdicts = []
    for budget in budgets:
        if budget.objective.name not in measured:
            continue
        if budget.objective.name == "latency":
            verdicts.append(judge_sessions(budget, times, reference, pooled=pooled))
            continue
        found = measured[budget.objective.name]
        base = figures[budget.objective.name]
        if budget.relative and budget.objective.name == "quality":
            found, base = _of_rows(quality, dense_quality), dense_quality.value
        scaled = _scaled(found, 1 / base) if budget.relative and base else found
        verdicts.append(judge(budget, scaled, dense=base))
    return tuple(verdicts), measured


def _of_rows(score: Score, dense: Score | None = None) -> Measurement:
    """The quality with an interval from the spread over rows; beside ``dense`` from that of the difference of rows."""
    if len(score.per_row) < 2:
        return Measurement.exact(score.value)
    rows = score.per_row
    if dense is not None and len(dense.per_row) == len(rows):
        rows = tuple(own - base for own, base in zip(rows, dense.per_row, strict=True))
    half = Z * stdev(rows) / len(rows) ** 0.5
    return Measurement(((score.value,),), score.value, score.value - half, score.value + half)


def _scaled(found: Measurement, factor: float) -> Measurement:
    samples = tuple(tuple(value * factor for value in session) for session in found.samples)
    return Measurement(samples, found.median * factor, found.low * factor, found.high * factor)


def _nearest(
    setup: Setup,
    trials: Sequence[Trial],
    judged: Sequence[Judged],
    figures: Mapping[str, float],
) -> Verified:
    """The candidate with the smallest worst gap; without a judged one, the trial with the smallest violation."""
    if judged:
        trial, verdicts, measured = min(judged, key=lambda one: max(verdict.gap for verdict in one[1]))
        found = {verdict.budget.name: verdict for verdict in verdicts}
        verdicts = tuple(
            found.get(budget.name) or _from_trial(budget, trial, figures) for budget in setup.names.budgets
        )
        return Verified(None, trial.policy, trial, verdicts, measured)
    done = [trial for trial in trials if trial.state == "complete"]
    if not done:
        causes = list(dict.fromkeys(trial.cause for trial in trials))
        shown = "; ".join(causes[:3]) + (f"; and {len(causes) - 3} more" if len(causes) > 3 else "")
        raise NothingRunsError(f"none of {len(trials)} trials finished: {shown or 'none was tried'}")
    trial = min(done, key=lambda one: max(one.constraints.values(), default=0.0))
    verdicts = tuple(_from_trial(budget, trial, figures) for budget in setup.names.budgets)
    return Verified(None, trial.policy, trial, verdicts)


def _from_trial(budget: Budget, trial: Trial, figures: Mapping[str, float]) -> Verdict:
    """A verdict on what the search itself measured; never ``kept``, since it was not verified."""
    value = trial.values[budget.name]
    low, high = trial.low.get(budget.name, value), trial.high.get(budget.name, value)
    base = figures[budget.name]
    found = Measurement(((value,),), value, low, high)
    return judge(budget, _scaled(found, 1 / base) if budget.relative else found, dense=base)
