"""Objective space: how values become points, where the reference is, and how much of it a set of trials dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autocompress.engine.hypervolume import hypervolume
from autocompress.engine.pareto import non_dominated
from autocompress.engine.problem import Problem
from autocompress.engine.scale import compress, expand
from autocompress.engine.tables import Floats
from autocompress.engine.trial import Refit, SearchOutcome, Trial

_MARGIN = 0.1
_EXACT = 60


class Space:
    """Minimised points of a problem; `logged` objectives are compared by ratio, on the scale of `scale`.

    The reference is fixed by `anchor` once, after the sweep: per objective its limit, else the worst value on the
    front of the anchoring trials plus a tenth of its range there.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.floor = {name: 1e-12 for name in problem.objectives if name in problem.logged}
        self.reference: Floats = np.full(len(problem.objectives), np.inf)

    def points(self, values: Mapping[str, Floats]) -> Floats:
        """Points (C, D) of value columns (C,)."""
        columns = []
        for name in self.problem.objectives:
            column = np.asarray(values[name], dtype=float)
            columns.append(compress(column, self.floor[name]) if name in self.floor else column)
        return np.stack(columns, axis=1)

    def of(self, trials: Sequence[Trial]) -> Floats:
        """Points (N, D) of trials that did not fail."""
        columns = {name: np.array([trial.values[name] for trial in trials]) for name in self.problem.objectives}
        return self.points(columns)

    def anchor(self, trials: Sequence[Trial]) -> None:
        """Fix the scale's floor and the reference from `trials`."""
        done = [trial for trial in trials if not trial.failed]
        for name in self.floor:
            sizes = [abs(trial.values[name]) for trial in done if trial.values[name] != 0]
            if sizes:
                # A near-lossless policy must not stretch the axis without end.
                self.floor[name] = 1e-4 * float(np.median(sizes))
        chosen = [trial for trial in done if trial.feasible] or done
        points = self.of(chosen) if chosen else np.ones((1, len(self.problem.objectives)))
        front = points[non_dominated(points)]
        worst, best = front.max(axis=0), front.min(axis=0)
        reference = worst + _MARGIN * np.maximum(worst - best, 1e-3 * np.abs(worst) + 1e-12)
        for i, name in enumerate(self.problem.objectives):
            limit = self.problem.limit(name)
            if limit is not None:
                reference[i] = compress(limit, self.floor[name]) if name in self.floor else limit
        self.reference = reference

    def front(self, trials: Sequence[Trial]) -> list[Trial]:
        """Feasible trials that no other dominates, by the first objective."""
        feasible = [trial for trial in trials if trial.feasible]
        if not feasible:
            return []
        kept = non_dominated(self.of(feasible))
        front: list[Trial] = [trial for trial, keep in zip(feasible, kept, strict=True) if keep]
        return sorted(front, key=lambda trial: trial.values[self.problem.objectives[0]])

    def ideal(self, trials: Sequence[Trial]) -> Floats:
        """Best value seen per objective (D,), never above the reference."""
        done = [trial for trial in trials if trial.feasible] or [trial for trial in trials if not trial.failed]
        if not done:
            return self.reference - 1.0
        return np.asarray(np.minimum(self.of(done).min(axis=0), self.reference - 1e-9))

    def dominated(self, front: Sequence[Trial], ideal: Floats) -> float:
        """Share of the box from `ideal` to the reference that `front` dominates; 4-D fronts above 60 are thinned."""
        if not front:
            return 0.0
        points = self.of(front)
        if points.shape[1] == 4 and len(points) > _EXACT:
            points = points[np.linspace(0, len(points) - 1, _EXACT).astype(int)]
        unit = (points - ideal) / np.maximum(self.reference - ideal, 1e-12)
        return hypervolume(np.maximum(unit, 0.0), np.ones(points.shape[1]))

    def outcome(self, trials: Sequence[Trial], refits: Sequence[Refit], stopped_because: str) -> SearchOutcome:
        """The finished search, beside what its plain sweep reached."""
        sweep = [trial for trial in trials if trial.proposer == "sweep"]
        if not np.all(np.isfinite(self.reference)):
            self.anchor(sweep or trials)
        front, sweep_front, ideal = self.front(trials), self.front(sweep), self.ideal(trials)
        reference = {
            name: float(expand(value, self.floor[name])) if name in self.floor else float(value)
            for name, value in zip(self.problem.objectives, self.reference, strict=True)
        }
        return SearchOutcome(
            tuple(trials),
            tuple(front),
            tuple(sweep_front),
            tuple(refits),
            stopped_because,
            reference,
            self.dominated(front, ideal),
            self.dominated(sweep_front, ideal),
        )
