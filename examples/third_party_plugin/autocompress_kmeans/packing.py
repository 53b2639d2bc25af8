"""Small indices packed into bytes, without gaps."""

from __future__ import annotations

import torch
from torch import Tensor


def packed_bytes(count: int, bits: int) -> int:
    """How many bytes ``count`` indices of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack(indices: Tensor, bits: int) -> Tensor:
    """Indices below ``2 ** bits`` as a string of bits, lowest bit first. Returns (bytes,) uint8."""
    places = torch.arange(bits, device=indices.device)
    string = (indices.flatten()[:, None].long() >> places & 1).flatten()
    padded = torch.nn.functional.pad(string, (0, -len(string) % 8)).reshape(-1, 8)
    return (padded << torch.arange(8, device=indices.device)).sum(1).to(torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The ``count`` indices that ``pack`` was given, as int32. packed: (bytes,) uint8."""
    eight = torch.arange(8, dtype=torch.int32, device=packed.device)
    string = (packed.int()[:, None] >> eight & 1).flatten()[: count * bits].reshape(count, bits)
    return (string << eight[:bits]).sum(1, dtype=torch.int32)
