"""`cast`: linears in half precision where the target multiplies it natively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from autocompress.domain import Choice, Domain, Value
from autocompress.errors import TrialError
from autocompress.layer import Layer
from autocompress.linears import bias_of, weight_of
from autocompress.target import Target
from autocompress.technique import Calibration, Group, Replacement, Stage, Technique
from autocompress_quantization.kernels import offered_dtypes

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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


class Cast(Technique):
    """Stores and multiplies a linear in ``dtype``; its surroundings keep theirs."""

    name: ClassVar[str] = "cast"
    stage: ClassVar[Stage] = Stage.QUANTIZE
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    references: ClassVar[tuple[str, ...]] = ("arXiv:1905.12322", "arXiv:1710.03740")

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:
        dtypes = offered_dtypes(target)
        if layer.kind not in self.kinds or layer.tied or layer.note or not dtypes:
            return None
        return {"dtype": Choice(dtypes)}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:  # noqa: ARG002
        linear = group.modules["linear"]
        module, bias = _empty(group, params), bias_of(linear)
        module.weight.copy_(weight_of(linear))
        if module.bias is not None and bias is not None:
            module.bias.copy_(bias)
        if not bool(torch.isfinite(module.weight).all()):
            raise TrialError(f"the weights of {group.layer.fqn!r} do not fit into {params['dtype']}.")
        return Replacement({"linear": module})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        return Replacement({"linear": _empty(group, params)})


def _empty(group: Group, params: Mapping[str, Value]) -> CastLinear:
    dtype = DTYPES.get(str(params.get("dtype")))
    if dtype is None:
        raise TrialError(f"dtype={params.get('dtype')!r}: expected one of {', '.join(DTYPES)}.")
    linear = group.modules["linear"]
    weight = weight_of(linear)
    rows, columns = weight.shape
    return CastLinear(columns, rows, dtype, bias=bias_of(linear) is not None, device=weight.device).eval()
