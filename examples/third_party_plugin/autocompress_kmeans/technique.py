"""`kmeans-sharing`: what the technique offers, how it compresses, and what it rebuilds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from autocompress.plugin import (
    Calibration,
    Choice,
    Domain,
    Group,
    Layer,
    Replacement,
    Stage,
    Target,
    Technique,
    TrialError,
    Value,
    bias_of,
    weight_of,
)
from autocompress_kmeans.codebook import codebook
from autocompress_kmeans.module import SharedLinear
from autocompress_kmeans.packing import pack

BITS = (5, 4, 3, 2)


class KmeansSharing(Technique):
    """Lets all weights of a linear share ``2 ** bits`` values and stores packed indices: fewer bytes, no more speed.

    With calibration an error in a weight costs as much as its input is large on average.
    """

    name: ClassVar[str] = "kmeans-sharing"
    stage: ClassVar[Stage] = Stage.QUANTIZE
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    references: ClassVar[tuple[str, ...]] = ("arXiv:1510.00149",)

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:
        # The lookup is plain torch, so it runs wherever the eager runtime does.
        if layer.kind not in self.kinds or layer.tied or layer.note or target.runtime != "torch":
            return None
        return {"bits": Choice(BITS)}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        linear = group.modules["linear"]
        weight, bias, module = weight_of(linear), bias_of(linear), _empty(group, params)
        if not bool(torch.isfinite(weight).all()):
            raise TrialError(f"the weights of {group.layer.fqn!r} hold NaN or infinity; k-means cannot share them.")
        importance = torch.ones(weight.shape[1], device=weight.device)
        if "linear" in calibration:
            seen = calibration["linear"].second.diagonal().to(weight.device)
            importance = seen + 1e-6 * seen.mean().clamp_min(1e-12)
        values, indices = codebook(weight, importance, module.bits)
        module.values.copy_(values)
        module.indices.copy_(pack(indices, module.bits))
        if module.bias is not None and bias is not None:
            module.bias.copy_(bias)
        return Replacement({"linear": module})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        return Replacement({"linear": _empty(group, params)})


def _empty(group: Group, params: Mapping[str, Value]) -> SharedLinear:
    bits = params.get("bits")
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise TrialError(f"bits={bits!r}: expected a whole number from 1 to 8.")
    linear = group.modules["linear"]
    weight = weight_of(linear)
    rows, columns = weight.shape
    return SharedLinear(columns, rows, bits, bias=bias_of(linear) is not None, device=weight.device).eval()
