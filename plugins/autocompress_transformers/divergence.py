"""How far predictions moved, measured by how much the dense model's own predictions differ from row to row.

The best constant prediction, the mean of the dense ones, says nothing about a row. Its divergence from the dense
predictions is their *spread*: what they tell. A model that lost as much as that has lost everything, even where all
of it is small, as in a classifier whose predictions are nearly flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MOST, LEAST, LEAST_CHANGED = 1.0, 1e-2, 1e-9
"""Nats. From one nat of spread on a divergence counts as it is; less than a hundredth is nothing to tell apart,
unless the likeliest class is another one."""


def unit(spread: float, positions: int) -> float:
    """The nats that count as one: the spread of the dense predictions, at most one nat; one nat for a single one."""
    return MOST if positions < 2 else min(MOST, max(LEAST, spread))


def soft_agreement(divergence: Tensor, same: Tensor, spread: Tensor | float) -> Tensor:
    """exp(-divergence / unit) at every position: 1 for an equal prediction, 0 for a quite different one.

    divergence  (P, ...) nats.   same: whether the likeliest class is the dense model's.   spread: nats, for all
    positions or (...) for each column of them.
    """
    import torch

    if len(divergence) < 2:
        return torch.exp(-divergence.clamp(min=0.0))
    spreads = torch.as_tensor(spread, dtype=divergence.dtype)
    kept, changed = (spreads.clamp(least, MOST) for least in (LEAST, LEAST_CHANGED))
    return torch.exp(-divergence.clamp(min=0.0) / torch.where(same, kept, changed))


def row_means(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """The mean of every row; the mean of all for a row without a position. values, rows: (P,), rows below ``count``."""
    import torch

    values = values.double()
    sums = torch.zeros(count, dtype=values.dtype).index_add_(0, rows, values)
    sizes = torch.zeros(count, dtype=values.dtype).index_add_(0, rows, torch.ones_like(values))
    return torch.where(sizes > 0, sums / sizes.clamp(min=1.0), values.mean())
