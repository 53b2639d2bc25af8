"""One search, one direction: load, bind, baseline, cost, sensitivity, search, verify, emit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from autocompress.basics.disk import raise_when_full, told_when_full
from autocompress.core.measurement import Measurement
from autocompress.core.objective import BUILTIN, Objective
from autocompress.core.progress import Event, Progress, silent
from autocompress.core.trial import Trial
from autocompress.engine import SearchOutcome, search
from autocompress.errors import RunError
from autocompress.pipeline.accuracy import accuracy_of
from autocompress.pipeline.baseline import measure_baseline
from autocompress.pipeline.custom import Custom, price_objectives
from autocompress.pipeline.front import front_of
from autocompress.pipeline.layers import LayerSaving, layer_savings
from autocompress.pipeline.plan import Plan, bind_space, dense_figures, make_plan
from autocompress.pipeline.problem import make_problem, problem_notes
from autocompress.pipeline.reach import refuse_excluded
from autocompress.pipeline.result import SearchResult
from autocompress.pipeline.saving import named
from autocompress.pipeline.telling import Reader, Teller
from autocompress.pipeline.trials import Trials
from autocompress.pipeline.verify import Verified, verify
from autocompress.report.files import write_run
from autocompress.request.keys import Contexts, contexts_of, digest
from autocompress.request.names import Names, check_names
from autocompress.request.request import SearchRequest
from autocompress.request.setup import Setup, set_up
from autocompress.space.binding import Binding
from autocompress.storage.cache import open_cache
from autocompress.storage.folder import RunFolder, default_folder

PATIENCE = 3
"""Rounds of four trials without progress after which a search without any limit of its own ends."""


@dataclass
class Clock:
    """Seconds per stage, and of the whole; ``outside`` is what was neither evaluating nor measuring."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def measured(self, seconds: float) -> None:
        whole = time.monotonic() - self.started
        self.seconds |= {"whole": whole, "outside": whole - seconds}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def run_search(request: SearchRequest, progress: Progress = silent, names: Names | None = None) -> SearchResult:
    """Answer a request; the same request on the same run folder goes on where an earlier one stopped.

    names   what `check_names` found, if it was asked before.
    Raises UsageError for input that cannot be used. KeyboardInterrupt passes through; what was measured is kept.
    """
    clock = Clock()
    with clock.stage("load"):
        names = names or check_names(request)
        out = request.out or default_folder(request.model_name, request.budgets, names.target.device)
        with _claimed(out):
            setup = set_up(request, names, progress)
            binding = bind_space(setup, progress)
            custom = price_objectives(setup, binding)
            refuse_excluded(setup, binding, custom)
            contexts = contexts_of(setup)
            folder = RunFolder(out, _identity(setup), open_cache(contexts.shared))
    try:
        with told_when_full(out):
            return _search(setup, (binding, custom), folder, contexts, clock, progress)
    finally:
        folder.close()


def _search(
    setup: Setup, bound: tuple[Binding, Custom], folder: RunFolder, contexts: Contexts, clock: Clock, progress: Progress
) -> SearchResult:
    request, store = setup.request, folder.store
    with clock.stage("baseline"):
        baseline, sessions = measure_baseline(setup, store, contexts.model, progress)
        figures = {name: measurement.median for name, measurement in baseline.items()}
        dense = dense_figures(setup, store, contexts.quality, figures)
        figures |= {"size": float(dense.bytes), "quality": dense.quality}
        figures |= {o.name: float(o.function(setup.model)) for o in setup.names.objectives if o.function is not None}
    with clock.stage("plan"):
        binding, custom = bound
        plan = make_plan(setup, binding, store, contexts, dense.latency, progress, custom=custom)
    asked = setup.names.budgets, setup.names.objectives
    problem = make_problem(plan.table, dense, *asked, figures)
    notes = [f"objective {name}: {why}; it is fitted on trials" for name, why in custom.fitted.items()]
    notes += problem_notes(problem, *asked)
    for note in notes:
        progress(Event("search", message=note, note=True))
    trials = Trials(setup, plan.bench, plan.table.policy, dense, setup.names.objectives, store, contexts.trials)
    read = Reader(setup, plan, dense, trials)
    teller = Teller(read, progress, setup, store.count(f"trial/{contexts.trials}/"))
    progress(Event("search", total=request.trials or 0, message="first trial"))
    with clock.stage("search"), _quiet_optuna():
        factory = setup.registry.samplers[request.sampler]
        outcome = search(
            problem,
            trials,
            trials=request.most_trials,
            seconds=request.seconds,
            patience=None if request.limited else PATIENCE,
            seed=request.seed,
            storage=folder.storage(),
            sampler=lambda seed: factory(seed, 4),
            on_trial=teller.told,
            screen=trials.screen,
        )
    found = [read.trial(trial, number) for number, trial in enumerate(outcome.trials)]
    accuracy = {**accuracy_of(outcome.trials, plan.table, dense.latency), "probe_share": plan.probe_share}
    progress(Event("search", message=f"stopped: {outcome.stopped_because}; {outcome.verdict}", note=True))
    with clock.stage("verify"):
        verified = verify(setup, plan, folder, found, figures, sessions, progress)
    with clock.stage("emit"):
        policy = verified.policy
        layers = store.timed(lambda: layer_savings(setup, plan, policy)) if policy is not None else ()
        clock.measured(store.seconds)
        front = front_of(problem, outcome, found, verified)
        result = _result(
            setup, folder, plan, clock, (found, front), outcome, verified, (baseline, figures), accuracy, layers
        )
        write_run(result, folder.path)
    progress(Event("emit", 1, 1, f"wrote {folder.path}"))
    return result


def _result(
    setup: Setup,
    folder: RunFolder,
    plan: Plan,
    clock: Clock,
    trials: tuple[list[Trial], tuple[Trial, ...]],
    outcome: SearchOutcome,
    verified: Verified,
    dense: tuple[Mapping[str, Measurement], Mapping[str, float]],
    accuracy: Mapping[str, float],
    layers: tuple[LayerSaving, ...],
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
        front=trials[1],
        best=verified.artifact,
        nearest=verified.nearest,
        policy=verified.policy and named(verified.policy, setup.registry),
        verdicts=verified.verdicts,
        verified=verified.measurements,
        test=verified.test,
        sweep={
            "hypervolume": outcome.hypervolume,
            "sweep_hypervolume": outcome.sweep_hypervolume,
            "added": outcome.added,
        },
        accuracy=accuracy,
        layers=layers,
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


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Progress is told by our own events; the caller's studies are as loud as before."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _objectives(setup: Setup) -> tuple[Objective, ...]:
    return (*BUILTIN, *setup.names.objectives)


def _identity(setup: Setup) -> dict[str, Any]:
    """What must be the same for a search to go on in its folder."""
    return {
        "model": setup.request.model_name,
        **{f"{name} content": content for name, content in setup.contents.items()},
        "target": setup.target.to_json(),
        "budgets": [budget.describe() for budget in setup.names.budgets],
        "evaluator": f"{setup.evaluator.name} ({setup.evaluator.metric})",
        "objectives": [objective.name for objective in setup.names.objectives],
        "space": digest([str(rule) for rule in setup.space.rules]),
        "sampler": setup.request.sampler,
        "seed": setup.request.seed,
    }


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """The run folder can be made (told before a model is loaded); nothing empty is left behind by an error."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise_when_full(error, out)
        raise RunError(f"cannot write the run folder {str(out)!r} ({error.strerror}); give another --out.") from error
    try:
        yield
    except BaseException:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise
