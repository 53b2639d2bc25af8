"""The contract of an evaluator: how good a model's outputs are, as one number and its details."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]
"""Inputs by name, first dimension rows. ``labels`` and ``group`` are for evaluators, not given to the model."""

Run = Callable[[Batch], Any]
"""Calls the model (dense or compressed) on one batch and returns its raw output."""


NOT_INPUTS = frozenset({"labels", "group"})


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """What of a batch the model is called with."""
    return {name: value for name, value in batch.items() if name not in NOT_INPUTS}


@dataclass(frozen=True)
class Score:
    """The quality, higher is better, and further figures for the report.

    per_row   the quality of every row where it exists, for paired comparisons; () otherwise.
    smooth    where the value moves in steps (accuracy), a figure without steps that falls with it: by it the search
              tells small changes of the model apart. None: the value itself.
    """

    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    per_row: tuple[float, ...] = ()
    smooth: float | None = None

    @property
    def guide(self) -> float:
        """What ranks small changes of the model."""
        return self.value if self.smooth is None else self.smooth


class Evaluator(ABC):
    """Scores a compressed model, against labels or against the dense model's outputs.

    name     unique among all installed plugins.
    metric   what the value is, for tables: ``mean cosine``.
    tasks    the tasks for which this evaluator is the default; of several, the one that needs most of what the data
             has, then the first by name.
    needs    what every batch must hold beyond the model's inputs: ``("labels",)``.
    reads    what is used of a batch where it is there: ``("group",)``.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:  # noqa: ARG002
        """Why this evaluator cannot judge the model, in words, or "".

        output    the dense model's raw output on the first batch.   batches: all that will be scored.
        Raises DataError when the data contradicts the model: labels beyond its classes.
        """
        return ""

    @abstractmethod
    def reference(self, run: Run, batches: Sequence[Batch]) -> Any:
        """What is kept of the dense model's outputs on these batches; handed to ``score``."""

    @abstractmethod
    def score(self, run: Run, batches: Sequence[Batch], reference: Any) -> Score:
        """The quality on these batches. Raises TrialError when the outputs cannot be scored (NaN, wrong shape)."""
