"""`int8`: linears with int8 weights and dynamic 8-bit activations."""

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
from autocompress_quantization import kernels
from autocompress_quantization.kernels import TENSOR, TOKEN

if TYPE_CHECKING:
    from autocompress_quantization.int8_linear import Int8Linear


class Int8(Technique):
    """Rounds each output row's weights to int8 and multiplies with the CPU's integer kernel.

    On a CPU whose kernel would saturate (no VNNI) the weights are rounded to 64 steps a side, on others to 127.

    ``activations``: ``tensor`` quantises the input with one range, ``token`` with one for every row (dearer, closer).
    """

    name: ClassVar[str] = "int8"
    stage: ClassVar[Stage] = Stage.QUANTIZE
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    references: ClassVar[tuple[str, ...]] = ("arXiv:1712.05877", "arXiv:2206.01861")

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:
        if layer.kind not in self.kinds or layer.tied or layer.note or not kernels.offers_int8(target):
            return None
        return {"activations": Choice((TENSOR, TOKEN))}

    def precision(self, params: Mapping[str, Value]) -> Precision:
        return Precision("int8", "row", str(params.get("activations", TENSOR)))

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:  # noqa: ARG002
        import torch

        from autocompress_quantization.rounding import round_rows

        linear = group.modules["linear"]
        weight, bias = weight_of(linear), bias_of(linear)
        if not bool(torch.isfinite(weight).all()):
            raise TrialError(f"the weights of {group.layer.fqn!r} hold NaN or infinity; int8 cannot round them.")
        module = _empty(group, params)
        kernel = kernels.kernel_here()
        values, scale = round_rows(weight, kernels.SAFE if kernel is None else kernel.levels)
        module.weight.copy_(values)
        module.scale.data.copy_(scale)
        if module.bias is not None and bias is not None:
            module.bias.copy_(bias)
        return Replacement({"linear": module})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        return Replacement({"linear": _empty(group, params)})


def _empty(group: Group, params: Mapping[str, Value]) -> Int8Linear:
    from autocompress_quantization.int8_linear import Int8Linear

    activations = params.get("activations", TENSOR)
    if activations not in (TENSOR, TOKEN):
        raise TrialError(f"activations={activations!r}: expected {TENSOR!r} or {TOKEN!r}.")
    linear = group.modules["linear"]
    weight = weight_of(linear)
    rows, columns = weight.shape
    has_bias = bias_of(linear) is not None
    return Int8Linear(columns, rows, bias=has_bias, activations=str(activations), device=weight.device).eval()
