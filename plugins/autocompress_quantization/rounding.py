"""Symmetric int8 values and one scale for every row."""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress_quantization.kernels import FULL


def round_rows(weight: Tensor, levels: int = FULL) -> tuple[Tensor, Tensor]:
    """Each row as ``values * scale``, the largest entry at ``levels``. weight: (rows, columns).

    Returns values (rows, columns) int8 and scale (rows,) fp32.
    """
    weight = weight.float()
    scale = weight.abs().amax(1) / levels
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays a row of zeros
    values = (weight / scale[:, None]).round().clamp(-levels, levels)
    return values.to(torch.int8), scale
