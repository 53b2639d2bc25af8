"""A dynamic int8 product as ONNX Runtime's own operators, in the place of any quantised linear."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autocompress.plugin import QuantizedLinear


class _Product(torch.autograd.Function):
    """``x Wᵀ`` with W in int8 and x quantised on the fly; the exporter writes its symbolic form, not what it computes.

    weight: int8 (in_features, out_features).   scale: (out_features,).   zeros: int8 (out_features,).
    """

    @staticmethod
    def forward(_ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, zeros: Tensor) -> Tensor:  # noqa: ARG004
        return x @ (weight * scale)

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, scale: Any, zeros: Any) -> Any:
        # In this order the runtime fuses all of it into one kernel.
        values, step, zero = g.op("DynamicQuantizeLinear", x, outputs=3)
        product = g.op("Cast", g.op("MatMulInteger", values, weight, zero, zeros), to_i=1)
        return g.op("Mul", product, g.op("Mul", step, scale)).setType(x.type().with_sizes(None))


class Int8Product(nn.Module):
    """A quantised linear as it is exported. By token, each row is divided by its largest entry first."""

    weight: Tensor
    scale: Tensor
    zeros: Tensor
    bias: Tensor | None

    def __init__(self, numbers: QuantizedLinear) -> None:
        super().__init__()
        self.by_token = numbers.precision.activations == "token"
        self.register_buffer("weight", numbers.weight.t().contiguous())
        self.register_buffer("scale", numbers.scale.float())
        self.register_buffer("zeros", torch.zeros(len(numbers.scale), dtype=torch.int8))
        self.register_buffer("bias", None if numbers.bias is None else numbers.bias.float())

    def forward(self, input: Tensor) -> Tensor:
        """input: (..., in_features). Returns (..., out_features)."""
        if self.by_token:
            peak = input.abs().amax(-1, keepdim=True).clamp_min(1e-12)
            result = self._product(input / peak) * peak
        else:
            result = self._product(input)
        return result if self.bias is None else result + self.bias

    def _product(self, input: Tensor) -> Tensor:
        result: Tensor = _Product.apply(input, self.weight, self.scale, self.zeros)  # type: ignore[no-untyped-call]
        return result
