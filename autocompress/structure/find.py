"""The layers of a model, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from autocompress.errors import ModelError
from autocompress.layer import Layer, Role
from autocompress.linears import is_linear, weight_of
from autocompress.structure.candidate import Candidate
from autocompress.structure.groups import find_groups
from autocompress.structure.modules import owner_of
from autocompress.structure.surgery import prove
from autocompress.structure.trace import CONVOLUTIONS, Trace, trace


def find_layers(model: nn.Module, example: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """Every linear, convolution, embedding, ffn, attention and block that runs on ``example``, in order.

    Only what runs is found. A group is proven by cutting a unit out of it; where that is not possible its ``note``
    says why. Raises ModelError when the model does not run or has no layer.
    """
    found = trace(model, example)
    if not found.order:
        raise ModelError("the model ran no linear, convolution or embedding layer; there is nothing to compress.")
    tied, blocks = _tied(model), _blocks(model, found)
    layers = [_single(model, name, order, tied, blocks) for order, name in enumerate(found.order)]
    layers = [layer for layer in layers if not _is_copy(layer, layers)]
    widths = {name: _width(model.get_submodule(name)) for name in found.linears}
    position = {name: order for order, name in enumerate(found.order)}
    for group in find_groups(found, widths):
        layers.append(_named_apart(_group(model, group, example, position, tied, blocks), layers))
    layers += [_block(model, name, found) for name in dict.fromkeys(blocks.values())]
    return tuple(sorted(layers, key=lambda layer: (layer.order, layer.kind, layer.fqn)))


def _single(
    model: nn.Module, name: str, order: int, tied: Mapping[str, tuple[str, ...]], blocks: Mapping[str, str]
) -> Layer:
    module = model.get_submodule(name)
    weight = weight_of(module) if is_linear(module) else module.get_parameter("weight")
    shape = tuple(weight.shape)
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
        note=_shared_with(model, name, kind, tied),
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
    position: Mapping[str, int],
    tied: Mapping[str, tuple[str, ...]],
    blocks: Mapping[str, str],
) -> Layer:
    names = group.members
    owner = owner_of([name.rpartition(".")[0] for name in (*names, *group.beside)])
    shared = tuple(sorted({other for name in names for other in tied.get(name, ())}))
    note = group.note or ("its weights are shared with " + ", ".join(shared) if shared else "")
    edits, note = ({}, note) if note else prove(model, group, example)
    return Layer(
        fqn=f"{owner}:{group.kind}" if owner else f":{group.kind}",
        kind=group.kind,
        owner=owner,
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


def _named_apart(layer: Layer, others: Sequence[Layer]) -> Layer:
    """The layer, named after its last linear where its owner holds another group of the kind."""
    if all(other.fqn != layer.fqn for other in others):
        return layer
    return replace(layer, fqn=f"{layer.modules[-1]}:{layer.kind}")


def _block(model: nn.Module, name: str, found: Trace) -> Layer:
    inside = [order for order, other in enumerate(found.order) if other.startswith(name + ".")]
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
    """Module name to the other modules that hold the same weight tensor, or are the same module."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and (is_linear(module) or isinstance(module, (nn.Embedding, *CONVOLUTIONS))):
            holders.setdefault(id(weight), []).append(name)
    return {
        name: tuple(n for n in names if n != name) for names in holders.values() if len(names) > 1 for name in names
    }


def _blocks(model: nn.Module, found: Trace) -> dict[str, str]:
    """Layer name to the repeated block it lies in: a child of the outermost list of modules that run in order."""
    lists = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList | nn.Sequential) and name
    ]
    result: dict[str, str] = {}
    for layer in found.order:
        outer = next((name for name in lists if layer.startswith(name + ".")), None)
        if outer is not None:
            block = ".".join([outer, layer[len(outer) + 1 :].split(".")[0]])
            if block != layer:
                result[layer] = block
    return result
