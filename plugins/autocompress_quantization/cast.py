"""`cast`: linears in half precision where the target multiplies it natively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from autocompress.plugin import (
    Calibration,
    Choice,
    Domain,
    Group,
    Layer,
    Precision,
    Replacement,
    Stage,
    Target,
    Technique,
    TrialError,
    Value,
    bias_of,
    weight_of,
)
from autocompress_quantization.kernels import offered_dtypes

if TYPE_CHECKING:
    import torch

    from autocompress_quantization.cast_linear import CastLinear

DTYPES = ("bfloat16", "float16")


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

    def precision(self, params: Mapping[str, Value]) -> Precision:
        return Precision(str(params.get("dtype")))

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:  # noqa: ARG002
        import torch

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
    import torch

    from autocompress_quantization.cast_linear import CastLinear

    name = params.get("dtype")
    if name not in DTYPES:
        raise TrialError(f"dtype={params.get('dtype')!r}: expected one of {', '.join(DTYPES)}.")
    linear = group.modules["linear"]
    weight = weight_of(linear)
    rows, columns = weight.shape
    dtype: torch.dtype = getattr(torch, str(name))
    return CastLinear(columns, rows, dtype, bias=bias_of(linear) is not None, device=weight.device).eval()
