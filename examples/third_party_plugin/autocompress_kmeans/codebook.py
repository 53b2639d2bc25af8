"""The few values that stand for all weights of a layer at the least weighted squared error."""

from __future__ import annotations

import torch
from torch import Tensor

ITERATIONS = 30


def codebook(weight: Tensor, importance: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """K-means in one dimension (Lloyd's algorithm), started on equal shares of the importance.

    weight: (rows, columns). importance: (columns,), how much an error in a column costs.
    Returns values (2 ** bits,) fp32, ascending, and indices (rows, columns) into them.
    """
    flat = weight.double().flatten()
    cost = importance.double().expand_as(weight).flatten()
    order = flat.argsort(stable=True)
    flat, cost = flat[order], cost[order]
    total, moment = _running(cost), _running(cost * flat)
    share = torch.arange(1, 2**bits, dtype=torch.double, device=flat.device) / 2**bits * total[-1]
    edges = torch.searchsorted(total, share).clamp(0, len(flat))
    values = _centres(edges, total, moment, torch.zeros(2**bits, dtype=torch.double, device=flat.device))
    for _ in range(ITERATIONS):
        moved = torch.searchsorted(flat, _borders(values))
        if torch.equal(moved, edges):
            break
        edges = moved
        values = _centres(edges, total, moment, values)
    values = values.float().sort().values
    indices = torch.bucketize(weight.float().contiguous(), _borders(values))
    return values, indices


def _running(summands: Tensor) -> Tensor:
    return torch.cat([summands.new_zeros(1), summands.cumsum(0)])


def _borders(values: Tensor) -> Tensor:
    """Half way between neighbouring values, where the nearer one changes."""
    return (values[1:] + values[:-1]) / 2


def _centres(edges: Tensor, total: Tensor, moment: Tensor, before: Tensor) -> Tensor:
    """The weighted mean of each run between two edges; an empty run keeps its value."""
    ends = torch.cat([edges.new_zeros(1), edges, edges.new_full((1,), len(total) - 1)])
    mass, sums = total[ends].diff(), moment[ends].diff()
    values = torch.where(mass > 0, sums / mass.clamp_min(1e-300), before)
    return values.sort().values
