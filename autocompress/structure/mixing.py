"""Attention whose projections are weights of the module itself: it runs no linear that could be cut, and says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autocompress.core.layer import Layer
from autocompress.structure.nested import main_input, main_output, map_tensors
from autocompress.structure.replay import Recorded, record
from autocompress.structure.trace import Trace, is_layer

logger = logging.getLogger(__name__)


def own_attention(model: nn.Module, found: Trace, example: Mapping[str, Tensor], known: Sequence[Layer]) -> list[Layer]:
    """Every module that mixes positions with matrices of its own and holds no attention of ``known``, with a note."""
    holders = {name for name in found.calls if _matrices(model.get_submodule(name))}
    names = [name for name in found.calls if name in holders and not _holds_attention(name, known)]
    position = {name: place for place, name in enumerate(found.calls)}
    starts = {layer.fqn: layer.order for layer in known if layer.fqn in position}
    layers = []
    for name, recorded in record(model, names, example).items() if names else ():
        module = model.get_submodule(name)
        if _mixes(module, recorded):
            after = [order for fqn, order in starts.items() if position[fqn] > position[name]]
            layers.append(_noted(name, module, min(after, default=len(starts))))
    return layers


def _matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own parameters of two and more dimensions; none for layers and recurrent ones, which have names."""
    if is_layer(module) or isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
        return {}
    return {name: p for name, p in module.named_parameters(recurse=False) if p.ndim >= 2}


def _holds_attention(name: str, known: Sequence[Layer]) -> bool:
    owners = [layer.owner for layer in known if layer.kind == "attention"]
    return any(owner == name or owner.startswith(name + ".") for owner in owners)


def _mixes(module: nn.Module, recorded: Recorded) -> bool:
    """Whether a change at one position is seen at others, and the module has two whole projections of its own."""
    x = main_input(recorded.args, recorded.kwargs)
    if x is None or not x.is_floating_point() or x.ndim < 3:
        return False
    if sum(p.numel() for p in _matrices(module).values()) < 2 * x.shape[-1] ** 2:
        return False

    def changed(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        if tensor is x:
            copy.view(-1, x.shape[-1])[0] += torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype, device=x.device)
        return copy

    try:
        with torch.no_grad():
            args, kwargs = map_tensors(changed, (recorded.args, dict(recorded.kwargs)))
            after, before = main_output(module(*args, **kwargs)), main_output(recorded.output)
    except Exception:  # a part that does not run alone shows nothing
        logger.debug("%s does not run alone", type(module).__name__, exc_info=True)
        return False
    if after.shape != before.shape or after.ndim < 3 or after.shape[:-1] != x.shape[:-1]:
        return False
    moved = ((after - before).abs() > 1e-6).flatten(0, -2).any(-1)
    return bool(moved[1:].any())


def _noted(name: str, module: nn.Module, order: int) -> Layer:
    shown = ", ".join(list(_matrices(module))[:6])
    return Layer(
        fqn=f"{name}:attention",
        kind="attention",
        owner=name,
        roles={},
        shapes={},
        n_params=sum(p.numel() for p in module.parameters()),
        order=order,
        note=f"its projections are weights of its own ({shown}), not linears that could be replaced",
    )
