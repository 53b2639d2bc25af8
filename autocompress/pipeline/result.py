"""What a search answers: the verified artifact or the nearest miss, the front, and every figure behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.core.measurement import Measurement
from autocompress.core.objective import Budget, Objective
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.core.trial import Trial
from autocompress.measure.verdict import Verdict

if TYPE_CHECKING:
    import pandas

    from autocompress.artifact import Artifact
    from autocompress.pipeline.layers import LayerSaving


@dataclass(frozen=True)
class SearchResult:
    """The answer of a search.

    best        the verified artifact, or None when no policy keeps every budget (then ``nearest`` is set).
    policy      the policy of ``best``, or of the nearest miss.
    verdicts    one a budget, from the fresh-process sessions of that policy.
    front       the non-dominated feasible trials, best quality first: what was kept among them, with its verified
                figures. Without a feasible one, the non-dominated of all. ``trials`` are all, as the search saw them.
    baseline    the dense model's values by objective.
    verified    the artifact's measured values by objective (latency, memory, size, ...).
    test        quality and details on the test split, which the search never saw, with ``dense_`` counterparts; beside
                it the quality on the ``selection`` and ``search`` splits.
    sweep       what the plain allocator sweep reached, beside what the search added.
    accuracy    predictions against measurements, as `accuracy_of` names them, and ``probe_share``.
    layers      what every changed layer of ``policy`` was predicted to save, and saves inside the model.
    seconds     by stage; ``outside`` is what was neither evaluating nor measuring, of the ``whole``.
    """

    out: Path
    target: Target
    objectives: tuple[Objective, ...]
    budgets: tuple[Budget, ...]
    baseline: Mapping[str, Measurement]
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    best: Artifact | None
    nearest: Trial | None
    policy: Policy | None
    verdicts: tuple[Verdict, ...]
    verified: Mapping[str, Measurement]
    test: Mapping[str, float]
    sweep: Mapping[str, float]
    accuracy: Mapping[str, float]
    seconds: Mapping[str, float]
    layers: tuple[LayerSaving, ...] = ()
    metric: str = "quality"
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    replay: str = ""

    @property
    def kept(self) -> bool:
        """Whether a verified artifact keeps every budget."""
        return self.best is not None

    @property
    def exit_code(self) -> int:
        return 0 if self.kept else 3

    def to_dataframe(self) -> pandas.DataFrame:
        """All trials, one a row: values, intervals, predictions, constraints and the policy's digest."""
        import pandas

        return pandas.DataFrame([trial.row() for trial in self.trials])

    def verdict_line(self) -> str:
        """The answer in one line, for people and logs."""
        if self.kept:
            return "budget kept: " + " ".join(verdict.reason.removeprefix("kept: ") for verdict in self.verdicts)
        return "budget NOT kept: " + " ".join(verdict.reason for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Everything above as JSON-able data; the same that ``--json`` prints."""
        return {
            "kept": self.kept,
            "verdict": self.verdict_line(),
            "out": str(self.out),
            "artifact": str(self.best.path) if self.best else None,
            "policy": self.policy.to_json() if self.policy else None,
            "nearest": self.nearest.row() if self.nearest else None,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "baseline": {name: m.to_json() for name, m in self.baseline.items()},
            "verified": {name: m.to_json() for name, m in self.verified.items()},
            "test": dict(self.test),
            "front": [trial.row() for trial in self.front],
            "trials": len(self.trials),
            "failed": sum(trial.state == "failed" for trial in self.trials),
            "sweep": dict(self.sweep),
            "prediction": dict(self.accuracy),
            "layers": [layer.to_json() for layer in self.layers],
            "seconds": dict(self.seconds),
            "metric": self.metric,
            "target": self.target.to_json(),
            "notes": list(self.notes),
            "dropped": dict(self.dropped),
            "replay": self.replay,
        }
