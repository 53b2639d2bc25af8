"""The low-rank factors of a linear that lose least on the inputs that calibration saw.

Source: SVD-LLM (arXiv:2403.07378): truncating the singular values of ``W S``, where ``S Sᵀ`` is the moment of the
input, gives the least squared output error of all matrices of that rank. They are found from the smaller of
``W H Wᵀ`` and ``Sᵀ Wᵀ W S``, whose eigenvalues are their squares.
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 1e-4  # of the mean diagonal: directions that calibration never saw keep a say
FLOOR = 1e-9  # of the largest singular value: below it a direction is float noise


def factors(weight: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """``second @ first`` of the given rank, nearest to ``weight`` on inputs with this moment.

    weight: (out_features, in_features); moment: (in_features, in_features). A lower rank is a slice of a higher one.
    Returns second (out_features, rank) and first (rank, in_features), double; each carries the root of the singular
    values, so that neither is hard to quantise. Signs are fixed: the largest entry of each row of first is positive.
    """
    weight, moment = weight.double(), moment.double()
    ridge = DAMPING * moment.diagonal().mean().clamp_min(1e-12)
    moment = moment + ridge * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    if weight.shape[0] <= weight.shape[1]:
        left, singular = _leading(weight @ moment @ weight.T, rank)
        second, first = left * singular.sqrt(), (left.T @ weight) / singular.sqrt()[:, None]
    else:
        root = torch.linalg.cholesky(moment)
        image = weight @ root
        right, singular = _leading(image.T @ image, rank)
        second = (image @ right) / singular.sqrt()
        first = torch.linalg.solve_triangular(root.T, right, upper=True).T * singular.sqrt()[:, None]
    peaks = first.gather(1, first.abs().argmax(1, keepdim=True)).sign()
    signs = torch.where(peaks == 0, torch.ones_like(peaks), peaks)
    return second * signs.T, first * signs


def _leading(square: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvectors (n, rank) of a symmetric matrix and the roots of their eigenvalues (rank,)."""
    values, vectors = torch.linalg.eigh(square)
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    floor = (values[0].clamp_min(0.0).sqrt() * FLOOR).clamp_min(1e-30)
    return vectors, values.clamp_min(0.0).sqrt().clamp_min(floor)
