"""What the engine hands out and back: proposals, finished trials, fronts, what the search added to the sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from autocompress.engine.problem import Assignment, Forecast, Resource


@dataclass(frozen=True)
class Proposal:
    """A policy to evaluate: who proposed it, and what is expected of it. `number` is the trial's that it becomes."""

    number: int
    assignment: Assignment
    proposer: str
    forecast: Forecast = field(default_factory=Forecast)


@dataclass(frozen=True)
class Trial:
    """One evaluated policy. `constraints` are normalised, <= 0 is within; `cause` is set if the evaluation failed.

    predicted      what the tables, as they were fitted at that moment, said of the policy before it was evaluated.
    predicted_sd   the standard deviation that they claimed for it, in the same unit.
    """

    number: int
    proposer: str
    assignment: Assignment
    values: Mapping[str, float]
    spread: Mapping[str, float]
    constraints: Mapping[str, float]
    cause: str | None
    seconds: float
    predicted: Mapping[str, float] = field(default_factory=dict)
    predicted_sd: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return self.cause is not None

    @property
    def feasible(self) -> bool:
        return self.cause is None and max(self.constraints.values(), default=0.0) <= 0.0


@dataclass(frozen=True)
class Refit:
    """State of the tables after `trials` trials: relative sd of the loss fit, its prior scales, resource lines."""

    trials: int
    loss_error: float
    misfit: float
    scales: Mapping[str, float]
    resources: tuple[Resource, ...]


@dataclass(frozen=True)
class SearchOutcome:
    """Result of one search; hypervolumes are fractions of the box from the best seen values to `reference`.

    front        feasible trials that no other dominates, by the first objective.
    sweep_front  the same for the plain allocator sweep alone: the baseline.
    added        hypervolume - sweep_hypervolume; `verdict` says it in words.
    reference    per objective: its limit, else the worst value on the sweep's front plus a tenth of its range.
    """

    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    sweep_front: tuple[Trial, ...]
    refits: tuple[Refit, ...]
    stopped_because: str
    reference: Mapping[str, float]
    hypervolume: float
    sweep_hypervolume: float

    @property
    def added(self) -> float:
        return self.hypervolume - self.sweep_hypervolume

    @property
    def verdict(self) -> str:
        """One line: what the search added to the sweep, and who proposed what is on the front."""
        ours, sweep = len(self.trials), sum(trial.proposer == "sweep" for trial in self.trials)
        if not self.front:
            return f"no policy within the budgets in {ours} trials"
        if self.added <= 0.001:
            return f"the search added nothing to the plain sweep ({sweep} of {ours} trials)"
        return (
            f"the search added {self.added:.3f} of hypervolume to the plain sweep's {self.sweep_hypervolume:.3f};"
            f" on the front: {self._shares()}"
        )

    def _shares(self) -> str:
        """Trials on the front, of all, by proposer: "2 of 16 by sweep, 9 of 110 by resolve"."""
        trials, front = (Counter(trial.proposer for trial in chosen) for chosen in (self.trials, self.front))
        return ", ".join(f"{front[name]} of {count} by {name}" for name, count in trials.items())
