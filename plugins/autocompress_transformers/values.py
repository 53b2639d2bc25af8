"""Quality of models whose outputs are quantities: regressors, rerankers, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, Evaluator, Run, Score, TrialError
from autocompress_transformers.embeddings import token_mask
from autocompress_transformers.outputs import finite, float_tensors

if TYPE_CHECKING:
    from torch import Tensor

FLAT = 1e-6
"""Columns vary at least by this share of the one that varies most: a constant one cannot make all errors infinite."""


@dataclass(frozen=True)
class Values:
    """The dense outputs, flattened: (rows, columns), and what their errors are measured by: (columns,), > 0."""

    batches: list[Tensor]
    variance: Tensor


class ValueFidelity(Evaluator):
    """R² to the dense model: 1 - mean squared error / variance of the dense outputs over the rows, mean of the columns.

    1 for equal outputs, 0 for a model that always answers the mean, below for worse. Details: ``rmse``, ``deviation``
    (of the dense outputs); for one output a row ``rank_correlation`` (Spearman's) with the dense order of the rows.
    """

    name: ClassVar[str] = "value-fidelity"
    metric: ClassVar[str] = "R2 to dense"
    tasks: ClassVar[tuple[str, ...]] = ("regression", "classification", "image", "token-classification", "other")

    def reference(self, run: Run, batches: Sequence[Batch]) -> Values:
        import torch

        with torch.no_grad():
            found = [_values(run(batch), batch) for batch in batches]
        if len({values.shape[1] for values in found}) > 1:
            raise TrialError("the number of outputs a row differs between batches: there is no column to compare.")
        rows = torch.cat(found)
        variance = rows.var(dim=0, correction=0)
        if not bool(variance.max() > 0):  # a single row, or one answer to all: relative to its size
            variance = rows.square().mean(dim=0)
        most = float(variance.max())
        return Values(found, variance.clamp(min=FLAT * most if most > 0 else 1.0))

    def score(self, run: Run, batches: Sequence[Batch], reference: Values) -> Score:
        import torch

        with torch.no_grad():
            found = [_values(run(batch), batch) for batch in batches]
        for values, dense in zip(found, reference.batches, strict=True):
            if values.shape != dense.shape:
                raise TrialError(
                    f"outputs of shape {tuple(values.shape)}: expected {tuple(dense.shape)}, as the dense model's."
                )
        ours, theirs = torch.cat(found), torch.cat(reference.batches)
        errors = (ours - theirs).square()
        rows = 1.0 - (errors / reference.variance).mean(dim=1)
        details = {"rmse": float(errors.mean().sqrt()), "deviation": float(reference.variance.mean().sqrt())}
        if ours.shape[1] == 1 and len(ours) > 1:
            details["rank_correlation"] = _rank_correlation(ours[:, 0], theirs[:, 0])
        return Score(float(rows.mean()), details, tuple(rows.tolist()))


def _values(output: Any, batch: Batch) -> Tensor:
    """The logits, or the first floating-point output, flattened, 0 at padding: (rows, columns), in double."""
    tensors = float_tensors(output)
    values = finite(tensors.get("logits", next(iter(tensors.values())))).double()
    if values.ndim == 0:
        raise TrialError("the model returned one number: expected one or more a row.")
    mask = token_mask(batch, values.shape[1]) if values.ndim == 3 else None
    if mask is not None:
        values = values * mask.cpu().unsqueeze(-1)
    return values.reshape(len(values), -1)


def _rank_correlation(ours: Tensor, theirs: Tensor) -> float:
    """Spearman's: the correlation of the ranks, equal values at their mean rank; 0 where one side is constant."""
    import torch

    first, second = (ranks - ranks.mean() for ranks in (_ranks(ours), _ranks(theirs)))
    scale = torch.sqrt(first.square().sum() * second.square().sum())
    return float((first * second).sum() / scale) if bool(scale > 0) else 0.0


def _ranks(values: Tensor) -> Tensor:
    import torch

    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = torch.cumsum(counts, dim=0).double() - (counts.double() - 1) / 2
    return ranks[inverse]
