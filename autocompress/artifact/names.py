"""Layer names when an artifact is loaded into a sibling class: its bare encoder, or a task model around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autocompress.layer import Layer
from autocompress.policy import Policy

if TYPE_CHECKING:
    from torch import nn

Rename = Callable[[str], str | None]
"""A name in the model that is being built, or None when that model has no such part."""


def renaming(model: nn.Module, layers: Sequence[Layer]) -> Rename:
    """How names of the saved model read in ``model``: as they are, without or with the base model's prefix."""
    modules = {name for name, _ in model.named_modules()}
    saved = [name for layer in layers for name in layer.modules]
    prefix = getattr(model, "base_model_prefix", "")

    def same(name: str) -> str | None:
        return name

    def strip(name: str) -> str | None:
        return "" if name == prefix else name.removeprefix(prefix + ".") if name.startswith(prefix + ".") else None

    def add(name: str) -> str | None:
        return f"{prefix}.{name}" if name else prefix

    def score(rename: Rename) -> int:
        return sum(rename(name) in modules for name in saved)

    return max((same, strip, add) if prefix else (same,), key=score)


def rename_plan(
    model: nn.Module, policy: Policy, layers: Iterable[Layer], rename: Rename
) -> tuple[Policy, tuple[Layer, ...]]:
    """The policy and its layers under their names in ``model``; layers with a part that it lacks are left out."""
    modules = {name for name, _ in model.named_modules()}
    kept, policies = [], {}
    for layer in layers:
        renamed = _rename_layer(layer, rename)
        if renamed is not None and modules.issuperset(renamed.modules):
            kept.append(renamed)
            policies[renamed.fqn] = policy.layers[layer.fqn]
    return Policy(policies), tuple(kept)


def _rename_layer(layer: Layer, rename: Rename) -> Layer | None:
    roles = {role: (rename(at.fqn), at) for role, at in layer.roles.items()}
    edits = {rename(path): size for path, size in layer.edits.items()}
    fqn = rename(layer.fqn)
    owner = rename(layer.owner)
    if fqn is None or None in edits or any(name is None for name, _ in roles.values()):
        return None
    return replace(
        layer,
        fqn=fqn,
        owner=owner or "",
        roles={role: replace(at, fqn=name or "") for role, (name, at) in roles.items()},
        edits={path or "": size for path, size in edits.items()},
        tied=tuple(name for name in map(rename, layer.tied) if name is not None),
        block=rename(layer.block) or "" if layer.block else "",
    )
