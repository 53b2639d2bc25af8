"""What a search knows: the fitted tables, the finished trials, the proposals that are out, and what one more would add.

A proposal that is out is never proposed again, but adds nothing to the front: counting it where it is forecast to be
was measured with four out, and gained nothing (hypervolume +0.001 / +0.000 / -0.001 at 50 / 100 / 200 evaluations).
"""

from __future__ import annotations

import numpy as np

from autocompress.engine.hypervolume import Improvement
from autocompress.engine.model import Model
from autocompress.engine.problem import LOSS, Assignment, Problem
from autocompress.engine.proposals import lowest_fraction
from autocompress.engine.scale import hoped
from autocompress.engine.space import Space
from autocompress.engine.surrogate import GROUPS
from autocompress.engine.tables import Floats, Ints
from autocompress.engine.trial import Proposal, Refit, Trial


class State:
    """Finished `trials` and proposals that are `out`, by number; `seen` are the policies of both."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.model = Model(problem)
        self.space = Space(problem)
        self.trials: list[Trial] = []
        self.out: dict[int, Proposal] = {}
        self.seen: set[Assignment] = set()
        self.refits: list[Refit] = []
        self.lowest = lowest_fraction(self.model)
        self._volume: Improvement | None = None

    @property
    def done(self) -> list[Trial]:
        """The trials that did not fail."""
        return [trial for trial in self.trials if not trial.failed]

    @property
    def sweep(self) -> list[Trial]:
        """The trials of the plain sweep."""
        return [trial for trial in self.trials if trial.proposer == "sweep"]

    @property
    def anchored(self) -> bool:
        """Whether there is a reference point yet: from then on volumes mean something."""
        return bool(np.all(np.isfinite(self.space.reference)))

    def anchor(self) -> None:
        """Fix the reference point by the sweep's trials, or by all if there was no sweep."""
        self.space.anchor(self.sweep or self.trials)
        self._volume = None

    def propose(self, proposal: Proposal) -> None:
        """One more proposal is out."""
        self.out[proposal.number] = proposal
        self.seen.add(proposal.assignment)

    def add(self, trial: Trial) -> None:
        """One more trial."""
        self.out.pop(trial.number, None)
        self.seen.add(trial.assignment)
        self.trials.append(trial)
        self._volume = None
        if trial.proposer == "sweep":
            # Whole models are not the sum of their layers: even the plain sweep aims by what it has measured.
            self.learn_resources()
            if self.anchored:  # it was still out when the rounds began
                self.anchor()

    def learn_resources(self) -> None:
        """Refit the resources alone."""
        done = self.done
        if done:
            self.model.learn_resources([trial.assignment for trial in done], [trial.values for trial in done])

    def refit(self) -> None:
        """Refit all tables to the finished trials."""
        done = self.done
        if len(done) < 4:
            return
        spreads = np.array([trial.spread.get(LOSS, 0.0) for trial in done])
        self.model.learn([trial.assignment for trial in done], [trial.values for trial in done], spreads)
        fit = self.model.surrogate.refit()
        self.lowest = lowest_fraction(self.model)
        scales = dict(zip(GROUPS, fit.scales, strict=True))
        lines = tuple(self.model.resources.values())
        self.refits.append(Refit(len(self.trials), fit.error, fit.misfit, scales, lines))

    def gains(self, policies: Ints, optimism: float = 0.0) -> Floats:
        """Predicted hypervolume added by each policy (C, L), the loss lowered by `optimism` standard deviations.

        Policies predicted beyond a limit rank last.
        """
        values = self.model.predict(policies)
        if optimism and LOSS in values:
            values[LOSS] = hoped(values[LOSS], optimism * self.model.surrogate.uncertainty(policies))
        return self.added(values)

    def added(self, values: dict[str, Floats]) -> Floats:
        """Hypervolume that policies of these values (C,) would add to the front, less what they break limits by."""
        gains = self._front().gain(self.space.points(values))
        for limit in self.problem.limits:
            excess = (values[limit.name] - limit.limit) / (abs(limit.limit) or 1.0)
            gains = gains - np.maximum(0.0, excess)
        return np.asarray(gains)

    def progress(self) -> float:
        """Share of the box that the front dominates."""
        return self.space.dominated(self.space.front(self.trials), self.space.ideal(self.trials))

    def _front(self) -> Improvement:
        """The front as something to improve on."""
        if self._volume is None:
            ideal, front = self.space.ideal(self.trials), self.space.front(self.trials)
            points = self.space.of(front) if front else np.zeros((0, len(ideal)))
            self._volume = Improvement(points, self.space.reference, ideal)
        return self._volume
