"""Parts that run and have weights, but are no layers that can be changed: named, so that nothing is passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from autocompress.core.layer import Layer, Role
from autocompress.structure.trace import Trace


def fused_attention(model: nn.Module, traces: Sequence[Trace], position: Mapping[str, int]) -> list[Layer]:
    """Every `torch.nn.MultiheadAttention` that is called, as an attention with a note."""
    calls = {name: trace for trace in traces for name in trace.calls}
    fused = {name: module for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)}
    return [_noted(name, fused[name], _next(calls[name], name, position)) for name in calls if name in fused]


def _noted(name: str, module: nn.MultiheadAttention, order: int) -> Layer:
    width, heads = module.embed_dim, module.num_heads
    return Layer(
        fqn=f"{name}:attention",
        kind="attention",
        owner=name,
        roles={role: Role(name, place * width, (place + 1) * width) for place, role in enumerate("qkv")},
        shapes={"out": tuple(module.out_proj.weight.shape)},
        n_params=sum(p.numel() for p in module.parameters()),
        sizes={"heads": heads, "kv_heads": heads, "head_dim": module.head_dim},
        order=order,
        note=f"its class {type(module).__name__} reads its fused weights (in_proj_weight, out_proj) itself",
    )


def _next(trace: Trace, name: str, position: Mapping[str, int]) -> int:
    """The position of the first layer that is called after this module is."""
    names = list(trace.calls)
    after = [other for other in names[names.index(name) :] if other in position]
    return position[after[0]] if after else len(position)
