"""`CastLinear`: a linear in half precision between neighbours that are not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CastLinear(nn.Module):
    """A linear that computes in its own dtype and answers in the dtype of its input.

    State: ``weight`` (out_features, in_features) and ``bias`` (out_features,) or absent, both in ``dtype``.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dtype: torch.dtype,
        *,
        bias: bool,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=dtype, device=device))
        self.register_buffer("bias", torch.empty(out_features, dtype=dtype, device=device) if bias else None)

    def forward(self, input: Tensor) -> Tensor:
        """input: (..., in_features). Returns (..., out_features) in the dtype of input."""
        return functional.linear(input.to(self.weight.dtype), self.weight, self.bias).to(input.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, dtype={self.weight.dtype}"
