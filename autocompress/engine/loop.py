"""One evaluation at a time: the plain client of `Study`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import optuna

from autocompress.engine.problem import Evaluate, Outcome, Problem
from autocompress.engine.racing import Screen
from autocompress.engine.samplers import SamplerFactory
from autocompress.engine.study import STAGES, Stop, Study
from autocompress.engine.trial import Proposal, SearchOutcome, Trial
from autocompress.errors import DiskFullError

logger = logging.getLogger(__name__)


def search(
    problem: Problem,
    evaluate: Evaluate,
    *,
    trials: int,
    seconds: float | None = None,
    seed: int = 0,
    storage: optuna.storages.BaseStorage | None = None,
    study_name: str = "autocompress",
    sampler: str | SamplerFactory = "tpe",
    on_trial: Callable[[Trial], None] | None = None,
    patience: int | None = None,
    stages: frozenset[str] = STAGES,
    screen: Screen | None = None,
) -> SearchOutcome:
    """Find the front of `problem` with at most `trials` evaluations; the same call on the same storage continues.

    seconds   time limit of this call; it is checked between evaluations.
    sampler   a name of `samplers.SAMPLERS`, or a function from a seed to a sampler of several objectives.
    patience  stop after this many rounds that add less than 0.5 % of hypervolume; None spends all that was given.
    stages    which parts to use, for ablation.
    screen    losses of a policy on few rows, for races between policies; None: the surrogate alone decides.
    Raises ValueError for a name that is no sampler's.
    """
    study = Study(
        problem,
        Stop(trials, seconds, patience),
        seed=seed,
        storage=storage,
        study_name=study_name,
        sampler=sampler,
        stages=stages,
        screen=screen,
    )
    while (proposal := study.ask()) is not None:
        trial = study.tell(proposal, attempt(evaluate, proposal))
        if on_trial is not None:
            on_trial(trial)
    return study.outcome()


def attempt(evaluate: Evaluate, proposal: Proposal) -> Outcome:
    """The outcome of an evaluation; what it raises makes it a failed one, but a full disk ends the search."""
    try:
        return evaluate(proposal.assignment)
    except DiskFullError:
        raise
    except (Exception, SystemExit) as error:
        logger.warning("trial %d failed: %s", proposal.number, error, exc_info=True)
        return Outcome({}, cause=f"{type(error).__name__}: {error}")
