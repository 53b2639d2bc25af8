"""Symmetric int8 values and one scale for every row."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 127


def round_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each row as ``values * scale``, the largest entry at 127. weight: (rows, columns).

    Returns values (rows, columns) int8 and scale (rows,) fp32.
    """
    return _round(weight.float(), weight.float().abs().amax(1) / LEVELS)


def _round(weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays a row of zeros
    values = (weight / scale[:, None]).round().clamp(-LEVELS, LEVELS)
    return values.to(torch.int8), scale
