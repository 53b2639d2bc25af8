"""`SharedLinear`: a linear whose weights are looked up in a small table."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autocompress_kmeans.packing import packed_bytes, unpack


class SharedLinear(nn.Module):
    """``y = x Wᵀ + b`` where every entry of W is one of ``2 ** bits`` values.

    State: ``values`` fp32 (2 ** bits,), ``indices`` uint8, packed, and ``bias`` or nothing. It stays packed in memory;
    each call unpacks it, which saves bytes and costs time.
    """

    values: Tensor
    indices: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        *,
        bias: bool,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits = in_features, out_features, bits
        length = packed_bytes(in_features * out_features, bits)
        self.register_buffer("values", torch.empty(2**bits, device=device))
        self.register_buffer("indices", torch.empty(length, dtype=torch.uint8, device=device))
        self.register_buffer("bias", torch.empty(out_features, device=device) if bias else None)

    def weight(self) -> Tensor:
        """(out_features, in_features), fp32."""
        count = self.in_features * self.out_features
        return self.values[unpack(self.indices, self.bits, count)].reshape(self.out_features, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        """input: (..., in_features). Returns (..., out_features)."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.linear(input, self.weight().to(input.dtype), bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, bias={self.bias is not None}"
