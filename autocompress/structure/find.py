"""The layers of a model, in the order in which they run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from autocompress.contracts.linears import is_linear, weight_of
from autocompress.core.layer import Layer, Role
from autocompress.errors import ModelError
from autocompress.structure.candidate import Candidate
from autocompress.structure.groups import find_groups
from autocompress.structure.inputs import trace_all
from autocompress.structure.mixing import own_attention
from autocompress.structure.modules import nearest, owner_of
from autocompress.structure.named import fused_attention
from autocompress.structure.surgery import prove
from autocompress.structure.trace import Trace, is_layer

logger = logging.getLogger(__name__)


def find_layers(
    model: nn.Module, example: Mapping[str, Tensor], batches: Sequence[Mapping[str, Tensor]] = ()
) -> tuple[Layer, ...]:
    """Every linear, convolution, embedding, ffn, attention and block that runs on ``example``, in order.

    Only what runs is found. What runs on some inputs only (an expert) is looked for in ``batches``. A group is proven
    by cutting a unit out of it; where that is not possible its ``note`` says why. Raises ModelError when the model does
    not run, changes its own input, or has no layer.
    """
    traces = trace_all(model, example, batches)
    order = _merged([found.order for _, found in traces])
    if not order:
        raise ModelError("the model ran no linear, convolution or embedding layer; there is nothing to compress.")
    tied, blocks = _tied(model), _blocks(model, order)
    position = {name: place for place, name in enumerate(order)}
    odd = {name: reason for _, found in traces for name, reason in found.odd.items()}
    layers = [_single(model, name, place, tied, blocks, odd.get(name, "")) for name, place in position.items()]
    layers = [layer for layer in layers if not _is_copy(layer, layers)]
    layers += _groups(model, traces, position, tied, blocks)
    layers += [_block(model, name, order) for name in dict.fromkeys(blocks.values())]
    layers += fused_attention(model, [found for _, found in traces], position)
    layers += own_attention(model, traces[0][1], traces[0][0], layers)
    return tuple(sorted(layers, key=lambda layer: (layer.order, layer.kind, layer.fqn)))


def _groups(
    model: nn.Module,
    traces: Sequence[tuple[Mapping[str, Tensor], Trace]],
    position: Mapping[str, int],
    tied: Mapping[str, tuple[str, ...]],
    blocks: Mapping[str, str],
) -> list[Layer]:
    """The groups that each trace shows, proven on its own inputs: elsewhere a cut expert would not be asked."""
    groups: list[Layer] = []
    names: set[str] = set()
    taken: set[str] = set()
    for inputs, found in traces:
        widths = {name: _width(model.get_submodule(name)) for name in found.linears}
        new = [group for group in _candidates(found, widths) if not taken.intersection(group.members)]
        groups += [_named(_group(model, one, inputs, found, position, tied, blocks), names) for one in new]
        taken.update(name for group in new for name in group.members)
    return groups


def _candidates(found: Trace, widths: Mapping[str, tuple[int, int]]) -> list[Candidate]:
    try:
        return find_groups(found, widths)
    except Exception as error:  # a stranger's operation may have no gradient
        logger.warning(
            "no group of layers can be found: %s: %s",
            type(error).__name__,
            error,
            exc_info=logger.isEnabledFor(logging.DEBUG),
        )
        return []


def _named(group: Layer, names: set[str]) -> Layer:
    """The group under a name of its own: a module may hold several groups of a kind."""
    name, number = group.fqn, 2
    while name in names:
        name, number = f"{group.fqn}{number}", number + 1
    names.add(name)
    return replace(group, fqn=name)


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """One order of execution: what a later trace adds comes after what ran before it there."""
    merged: list[str] = []
    for order in orders:
        after = 0
        for name in order:
            if name in merged:
                after = merged.index(name) + 1
            else:
                merged.insert(after, name)
                after += 1
    return merged


def _single(
    model: nn.Module,
    name: str,
    order: int,
    tied: Mapping[str, tuple[str, ...]],
    blocks: Mapping[str, str],
    odd: str,
) -> Layer:
    module = model.get_submodule(name)
    shape = tuple(weight_of(module).shape)
    kind = "linear" if is_linear(module) else "embedding" if isinstance(module, nn.Embedding) else "conv"
    return Layer(
        fqn=name,
        kind=kind,
        owner=name,
        roles={kind: Role(name, 0, shape[0])},
        shapes={kind: shape},
        n_params=sum(p.numel() for p in module.parameters()),
        tied=tied.get(name, ()),
        order=order,
        block=blocks.get(name, ""),
        note=odd or _shared_with(model, name, kind, tied),
    )


def _is_copy(layer: Layer, layers: list[Layer]) -> bool:
    """Whether an earlier embedding holds the same weights; the earlier one speaks for both."""
    return layer.kind == "embedding" and any(
        other.fqn in layer.tied and other.kind == layer.kind and other.order < layer.order for other in layers
    )


def _shared_with(model: nn.Module, name: str, kind: str, tied: Mapping[str, tuple[str, ...]]) -> str:
    """Why shared weights cannot be changed: only embeddings that share with embeddings can, together."""
    others = [
        other
        for other in tied.get(name, ())
        if kind != "embedding" or not isinstance(model.get_submodule(other), nn.Embedding)
    ]
    return f"its weights are shared with {', '.join(others)}" if others else ""


def _group(
    model: nn.Module,
    group: Candidate,
    example: Mapping[str, Tensor],
    found: Trace,
    position: Mapping[str, int],
    tied: Mapping[str, tuple[str, ...]],
    blocks: Mapping[str, str],
) -> Layer:
    names = group.members
    parents = [name.rpartition(".")[0] for name in (*names, *group.beside)]
    owner = owner_of(parents)
    called = nearest(owner, found.calls)
    shared = tuple(sorted({other for name in names for other in tied.get(name, ())}))
    note = group.note or ("its weights are shared with " + ", ".join(shared) if shared else "")
    edits, note = ({}, note) if note else prove(model, group, called, example)
    return Layer(
        fqn=f"{owner}:{group.kind}" if owner else f":{group.kind}",
        kind=group.kind,
        owner=called,
        roles=group.roles,
        shapes={role: _width(model.get_submodule(at.fqn)) for role, at in group.roles.items()},
        n_params=sum(p.numel() for name in names for p in model.get_submodule(name).parameters()),
        sizes=group.sizes,
        edits=edits,
        tied=shared,
        order=min(position[name] for name in names),
        block=blocks.get(names[0], ""),
        note=note,
    )


def _block(model: nn.Module, name: str, order: Sequence[str]) -> Layer:
    inside = [place for place, other in enumerate(order) if other.startswith(name + ".")]
    return Layer(
        fqn=f"{name}:block",
        kind="block",
        owner=name,
        roles={"block": Role(name, 0, 0)},
        shapes={},
        n_params=sum(p.numel() for p in model.get_submodule(name).parameters()),
        order=min(inside),
        block=name,
    )


def _width(module: nn.Module) -> tuple[int, int]:
    out_features, in_features = weight_of(module).shape
    return int(out_features), int(in_features)


def _tied(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Module name to the other modules that hold the same weights, or are the same module."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if is_layer(module):
            # Not ``module.weight``: a parametrized one is a new tensor each time.
            for weight in {id(p): p for at, p in module.named_parameters() if "weight" in at}:
                holders.setdefault(weight, []).append(name)
    return {
        name: tuple(n for n in names if n != name) for names in holders.values() if len(names) > 1 for name in names
    }


def _blocks(model: nn.Module, order: Sequence[str]) -> dict[str, str]:
    """Layer name to the repeated block it lies in: a child of the outermost list of modules that run in order."""
    lists = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList | nn.Sequential) and name
    ]
    result: dict[str, str] = {}
    for layer in order:
        outer = next((name for name in lists if layer.startswith(name + ".")), None)
        if outer is not None:
            block = ".".join([outer, layer[len(outer) + 1 :].split(".")[0]])
            if block != layer:
                result[layer] = block
    return result
