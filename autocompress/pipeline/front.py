"""The front that is written: what was kept is on it with its verified figures, and what missed where nothing keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autocompress.core.objective import MAXIMIZE
from autocompress.core.trial import Trial
from autocompress.engine import Problem, SearchOutcome
from autocompress.engine.pareto import non_dominated
from autocompress.measure.verdict import Verdict
from autocompress.pipeline.verify import Verified


def front_of(
    problem: Problem, outcome: SearchOutcome, trials: Sequence[Trial], verified: Verified
) -> tuple[Trial, ...]:
    """Best quality first. Without a policy within the budgets: the non-dominated ones of all that finished.

    trials   those of ``outcome``, in the same order. The search times a policy beside its own work and asks for a
             margin; what fresh processes then find within the budgets is on the front whatever the search thought.
    """
    at = {trial.number: position for position, trial in enumerate(outcome.trials)}
    chosen = [trials[at[trial.number]] for trial in outcome.front]
    if not chosen:
        done = [(found, trial) for found, trial in zip(outcome.trials, trials, strict=True) if not found.failed]
        points = np.array([[found.values[name] for name in problem.objectives] for found, _ in done])
        chosen = [trial for (_, trial), kept in zip(done, non_dominated(points), strict=True) if kept]
    if verified.artifact is not None and verified.policy is not None:
        digest = verified.policy.digest()
        kept = next(trial for trial in trials if trial.state == "complete" and trial.policy.digest() == digest)
        others = [trial for trial in chosen if trial.policy.digest() != digest and trial.feasible]
        chosen = [*others, reconciled(kept, verified)]
    return tuple(sorted(chosen, key=lambda trial: -trial.values["quality"]))


def reconciled(trial: Trial, verified: Verified) -> Trial:
    """The trial with what fresh processes measured in place of what the search did.

    Quality stays that of the search split: it is the one that all of the front have in common.
    """
    found = {name: one for name, one in verified.measurements.items() if name in trial.values and name != "quality"}
    return replace(
        trial,
        values={**trial.values, **{name: one.median for name, one in found.items()}},
        low={**trial.low, **{name: one.low for name, one in found.items()}},
        high={**trial.high, **{name: one.high for name, one in found.items()}},
        constraints={verdict.budget.name: _excess(verdict) for verdict in verified.verdicts},
    )


def _excess(verdict: Verdict) -> float:
    """How far the bound that was promised is over its limit; at most 0 where it is kept."""
    sign = -1.0 if verdict.budget.objective.direction == MAXIMIZE else 1.0
    return sign * (verdict.bound - verdict.limit) / (abs(verdict.limit) or 1.0)
