"""Optimal brain surgeon: which input features of a linear cost least, once the others make up for them.

Everything here is about one linear ``y = W x`` and the moment ``H`` of its input: removing features and re-solving the
rest by least squares costs ``W_R (H^-1)_RR^-1 W_Rᵀ``. Sources: Hassibi and Stork, "Second order derivatives for
network pruning: optimal brain surgeon" (NeurIPS 1992); ZipLM (arXiv:2302.04089) for whole structures.
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean diagonal: keeps the inverse finite where calibration saw fewer rows than features
ROUNDS = 24  # on MiniLM, 12 to 1536 rounds end within 0.001 of the same cosine


def damped(moment: Tensor) -> Tensor:
    """The moment in double precision with 1 % of its mean diagonal added. moment: (features, features)."""
    moment = moment.double()
    ridge = DAMPING * moment.diagonal().mean().clamp_min(1e-12)
    return moment + ridge * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)


def removal_order(weight: Tensor, moment: Tensor) -> Tensor:
    """Features in the order in which a greedy surgeon removes them: each prefix is the set to remove.

    Each round removes 1/24 of the features, exactly one by one among the cheapest twice as many, and then downdates
    the rest once. weight: (out_features, features); moment: (features, features). Returns (features,) indices.
    """
    weight, inverse = weight.double(), torch.cholesky_inverse(torch.linalg.cholesky(damped(moment)))
    alive = torch.arange(weight.shape[1], device=weight.device)
    quota = max(1, -(-len(alive) // ROUNDS))
    order = []
    while len(alive):
        count = min(quota, len(alive))
        scores = weight.square().sum(0) / inverse.diagonal()
        pool = scores.argsort(stable=True)[: 2 * count]
        removed = pool[_one_by_one(weight[:, pool], inverse[pool][:, pool], count)]
        order.append(alive[removed])
        weight, inverse, alive = _without(weight, inverse, alive, removed)
    return torch.cat(order)


def block_order(weight: Tensor, moment: Tensor, blocks: int) -> Tensor:
    """The same for ``blocks`` equal runs of features (attention heads), removed one at a time. Returns (blocks,)."""
    weight, inverse = weight.double(), torch.cholesky_inverse(torch.linalg.cholesky(damped(moment)))
    size = weight.shape[1] // blocks
    alive, order = torch.arange(blocks, device=weight.device), []
    while len(alive):
        tiles = inverse.reshape(len(alive), size, len(alive), size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        columns = weight.reshape(-1, len(alive), size).permute(1, 2, 0)
        scores = (columns * torch.linalg.solve(tiles, columns)).sum((1, 2))
        cheapest = scores.argmin()
        order.append(alive[cheapest])
        removed = cheapest * size + torch.arange(size, device=weight.device)
        weight, inverse, _ = _without(weight, inverse, torch.arange(weight.shape[1], device=weight.device), removed)
        alive = torch.cat([alive[:cheapest], alive[cheapest + 1 :]])
    return torch.stack(order)


def reconstruct(weight: Tensor, moment: Tensor, kept: Tensor) -> Tensor:
    """The kept columns, changed so that they stand in for the lost ones as well as least squares can.

    The damping pulls towards the kept columns as they were, not towards zero. Returns (out_features, kept), double.
    """
    weight, moment = weight.double(), moment.double()
    lost = _complement(kept, weight.shape[1])
    inner = damped(moment[kept][:, kept])
    share: Tensor = torch.linalg.solve(inner, moment[kept][:, lost] @ weight[:, lost].T)
    return weight[:, kept] + share.T


def _one_by_one(weight: Tensor, inverse: Tensor, count: int) -> Tensor:
    """Greedy removal inside a small pool, downdated after each feature. Returns positions in the pool."""
    gram, inverse = weight.T @ weight, inverse.clone()
    gone = torch.zeros(len(gram), dtype=torch.bool, device=gram.device)
    chosen = []
    for _ in range(count):
        scores = (gram.diagonal() / inverse.diagonal().clamp_min(1e-300)).masked_fill(gone, torch.inf)
        at = scores.argmin()
        row = inverse[at] / inverse[at, at]
        pull = gram[at].clone()
        gram = gram - pull[:, None] * row - row[:, None] * pull + pull[at] * row[:, None] * row
        inverse = inverse - inverse[:, at, None] * row
        gone[at] = True
        chosen.append(at)
    return torch.stack(chosen)


def _without(weight: Tensor, inverse: Tensor, alive: Tensor, removed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, inverse moment and names of the features that are left, after the others made up for ``removed``."""
    kept = _complement(removed, len(alive))
    coupling = torch.linalg.solve(inverse[removed][:, removed], inverse[removed][:, kept])
    weight = weight[:, kept] - weight[:, removed] @ coupling
    inverse = inverse[kept][:, kept] - inverse[kept][:, removed] @ coupling
    return weight, inverse, alive[kept]


def _complement(indices: Tensor, size: int) -> Tensor:
    mask = torch.ones(size, dtype=torch.bool, device=indices.device)
    mask[indices] = False
    return mask.nonzero().flatten()
