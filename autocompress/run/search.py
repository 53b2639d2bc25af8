"""One search, one direction: load, bind, baseline, cost, sensitivity, search, verify, emit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, linear_regression, pstdev
from typing import Any

import optuna

from autocompress.engine import SearchOutcome, search
from autocompress.engine import Trial as EngineTrial
from autocompress.errors import RunError
from autocompress.measurement import Measurement
from autocompress.objective import BUILTIN, MAXIMIZE, Objective
from autocompress.report.files import write_run
from autocompress.run.baseline import measure_baseline
from autocompress.run.folder import RunFolder, default_folder
from autocompress.run.plan import Plan, bind_space, dense_figures, make_plan, make_problem
from autocompress.run.progress import Event, Progress, silent
from autocompress.run.request import SearchRequest
from autocompress.run.result import SearchResult
from autocompress.run.setup import Setup, check_names, set_up
from autocompress.run.trials import Dense, Trials
from autocompress.run.verify import Verified, verify
from autocompress.space import Binding
from autocompress.trial import Trial
from autocompress.units import format_seconds


@dataclass
class Clock:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def run_search(request: SearchRequest, progress: Progress = silent) -> SearchResult:
    """Answer a request; the same request on the same run folder goes on where an earlier one stopped.

    Raises UsageError for input that cannot be used. KeyboardInterrupt passes through; what was measured is kept.
    """
    clock = Clock()
    with clock.stage("load"):
        names = check_names(request)
        out = request.out or default_folder(request.model_name, request.budgets, names.target.device)
        with _claimed(out):
            setup = set_up(request, names, progress)
            binding = bind_space(setup, progress)
            folder = RunFolder(out, _identity(setup))
    try:
        return _search(setup, binding, folder, clock, progress)
    finally:
        folder.close()


def _search(setup: Setup, binding: Binding, folder: RunFolder, clock: Clock, progress: Progress) -> SearchResult:
    request, store = setup.request, folder.store
    context = _digest({**setup.fingerprints(), **_context(setup)})
    with clock.stage("baseline"):
        baseline, sessions = measure_baseline(setup, folder, context, progress)
        figures = {name: measurement.median for name, measurement in baseline.items()}
        dense = dense_figures(setup, figures["latency"], figures["latency.p95"], figures["memory"])
        figures |= {"size": float(dense.bytes), "quality": dense.quality}
        figures |= {o.name: float(o.function(setup.model)) for o in setup.names.objectives if o.function is not None}
    with clock.stage("plan"):
        plan = make_plan(setup, binding, store, context, dense.latency, progress)
    problem = make_problem(plan.table, dense, setup.names.budgets, setup.names.objectives, figures)
    trials = Trials(
        plan.bench,
        plan.table.policy,
        setup.evaluator,
        setup.rows["search"],
        setup.example,
        setup.names.runtime,
        setup.target,
        dense,
        setup.names.objectives,
        store,
        context,
    )
    read = _Reader(setup, plan, dense, trials)
    teller = _Teller(request, read, progress, setup, store.count(f"trial/{context}/"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # progress is told by our own events
    with clock.stage("search"):
        factory = setup.registry.samplers[request.sampler]
        outcome = search(
            problem,
            trials,
            trials=request.trials,
            seconds=request.seconds,
            seed=request.seed,
            storage=folder.storage(),
            sampler=lambda seed: factory(seed, 4),
            on_trial=teller.told,
        )
    found = [read.trial(trial, number) for number, trial in enumerate(outcome.trials)]
    found, accuracy = _fitted(found)
    front = [found[outcome.trials.index(trial)] for trial in outcome.front]
    progress(Event("search", message=f"stopped: {outcome.stopped_because}; {outcome.verdict}", note=True))
    with clock.stage("verify"):
        verified = verify(setup, plan, folder, found, figures, sessions, context, progress)
    with clock.stage("emit"):
        accuracy |= {"probe_share": plan.probe_share}
        result = _result(setup, folder, plan, clock, (found, front), outcome, verified, (baseline, figures), accuracy)
        write_run(result, folder.path)
    progress(Event("emit", 1, 1, f"wrote {folder.path}"))
    return result


@dataclass(frozen=True)
class _Reader:
    """Reads an engine trial as a `Trial`: a policy, values in their own direction, predictions."""

    setup: Setup
    plan: Plan
    dense: Dense
    trials: Trials

    def trial(self, found: EngineTrial, number: int) -> Trial:
        """``number`` counts evaluated policies; Optuna's own also counts those that were screened out."""
        policy = self.plan.table.policy(found.assignment)
        if found.failed:
            return Trial(number, policy, found.stage, state="failed", seconds=found.seconds, cause=found.cause or "")
        values = {name: float(value) for name, value in found.values.items() if name != "loss"}
        for objective in self.setup.names.objectives:
            if objective.direction == MAXIMIZE:
                values[objective.name] = -values[objective.name]
        values = {"quality": self.trials.details(policy)["quality"], **values}
        spread = {name: 1.645 * sd for name, sd in found.spread.items()}
        return Trial(
            number=number,
            policy=policy,
            stage=found.stage,
            values=values,
            predicted={"latency": self._latency(found)},
            low={name: values[name] - half for name, half in spread.items() if name in values},
            high={name: values[name] + half for name, half in spread.items() if name in values},
            constraints=dict(found.constraints),
            seconds=found.seconds,
        )

    def _latency(self, found: EngineTrial) -> float:
        """The tables' own prediction, before any refit: dense latency and the sum of what the options save."""
        table = self.plan.table
        base = sum(unit.options[0].costs["latency"] for unit in table.units)
        return self.dense.latency - base + table.predicted(found.assignment, "latency")


class _Teller:
    """Tells progress and the ``trial_finished`` hook of every trial."""

    def __init__(self, request: SearchRequest, read: _Reader, progress: Progress, setup: Setup, before: int) -> None:
        self._request, self._read, self._progress, self._setup = request, read, progress, setup
        self._started, self._done, self._before = time.monotonic(), 0, before
        self._best: Trial | None = None

    def told(self, found: EngineTrial) -> None:
        trial = self._read.trial(found, self._before + self._done)
        self._setup.registry.manager.hook.autocompress_trial_finished(trial=trial)
        self._done += 1
        if trial.feasible and (self._best is None or trial.values["quality"] > self._best.values["quality"]):
            self._best = trial
        message = f"trial {trial.number} ({trial.stage})" if trial.state == "complete" else f"failed: {trial.cause}"
        self._progress(
            Event("search", self._before + self._done, self._request.trials, message, self._words(), self._left())
        )

    def _words(self) -> str:
        if self._best is None:
            return ""
        values = self._best.values
        return f"quality {values['quality']:.4f} at {format_seconds(values['latency'])}"

    def _left(self) -> float:
        spent = time.monotonic() - self._started
        left = max(0, self._request.trials - self._before - self._done) * spent / max(1, self._done)
        return left if self._request.seconds is None else min(left, max(0.0, self._request.seconds - spent))


def _result(
    setup: Setup,
    folder: RunFolder,
    plan: Plan,
    clock: Clock,
    trials: tuple[list[Trial], list[Trial]],
    outcome: SearchOutcome,
    verified: Verified,
    dense: tuple[Mapping[str, Measurement], Mapping[str, float]],
    accuracy: Mapping[str, float],
) -> SearchResult:
    baseline, figures = dense
    exact = {name: Measurement.exact(value) for name, value in figures.items() if name not in baseline}
    return SearchResult(
        out=folder.path,
        target=setup.target,
        objectives=_objectives(setup),
        budgets=setup.names.budgets,
        baseline={**baseline, **exact},
        trials=tuple(trials[0]),
        front=tuple(sorted(trials[1], key=lambda trial: -trial.values["quality"])),
        best=verified.artifact,
        nearest=verified.nearest,
        policy=verified.policy,
        verdicts=verified.verdicts,
        verified=verified.measurements,
        test=verified.test,
        sweep={
            "hypervolume": outcome.hypervolume,
            "sweep_hypervolume": outcome.sweep_hypervolume,
            "added": outcome.added,
        },
        accuracy=accuracy,
        seconds={name: round(value, 2) for name, value in clock.seconds.items()},
        metric=setup.evaluator.metric,
        notes=(
            *setup.notes,
            outcome.verdict,
            f"{folder.store.measured} measurements made, {folder.store.reused} reused from an earlier start",
        ),
        dropped=plan.binding.dropped,
        replay=setup.request.replay(),
    )


def _objectives(setup: Setup) -> tuple[Objective, ...]:
    return (*BUILTIN, *setup.names.objectives)


def _fitted(trials: Sequence[Trial]) -> tuple[list[Trial], dict[str, float]]:
    """Latency predictions from the line ``t = a + b * table`` through the sweep's trials, and how far they were off.

    ``mape`` and ``sd`` are of the trials after the sweep, which the line has not seen; ``table_mape`` is the error of
    the table alone, before the fit, over all trials.
    """
    done = [trial for trial in trials if trial.state == "complete"]
    seen = [trial for trial in done if trial.stage == "sweep"]
    tables = [trial.predicted["latency"] for trial in seen]
    if len(set(tables)) < 3:
        return list(trials), {}
    slope, intercept = linear_regression(tables, [trial.values["latency"] for trial in seen])
    fitted = [
        replace(trial, predicted={"latency": intercept + slope * trial.predicted["latency"]})
        if trial in done
        else trial
        for trial in trials
    ]
    held_out = [_error(trial) for trial in fitted if trial.state == "complete" and trial.stage != "sweep"]
    accuracy = {"table_mape": fmean(abs(_error(trial)) for trial in done), "slope": slope}
    if held_out:
        accuracy |= {"mape": fmean(map(abs, held_out)), "bias": fmean(held_out), "sd": pstdev(held_out)}
        accuracy["count"] = float(len(held_out))
    return fitted, accuracy


def _error(trial: Trial) -> float:
    return trial.predicted["latency"] / trial.values["latency"] - 1


def _identity(setup: Setup) -> dict[str, Any]:
    """What must be the same for a search to go on in its folder."""
    return {
        "model": setup.request.model_name,
        **{f"{name} content": digest for name, digest in setup.fingerprints().items()},
        "target": setup.target.to_json(),
        "budgets": [budget.describe() for budget in setup.names.budgets],
        **_context(setup),
        "space": _digest([str(rule) for rule in setup.space.rules]),
        "sampler": setup.request.sampler,
        "seed": setup.request.seed,
    }


def _context(setup: Setup) -> dict[str, Any]:
    return {
        "evaluator": f"{setup.evaluator.name} ({setup.evaluator.metric})",
        "objectives": [objective.name for objective in setup.names.objectives],
        "target": setup.target.to_json(),
    }


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """The run folder can be made (told before a model is loaded); nothing empty is left behind by an error."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write the run folder {str(out)!r} ({error.strerror}); give another --out.") from error
    try:
        yield
    except BaseException:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
