"""Layer names when an artifact is loaded into a sibling class: its bare encoder, or a task model around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from autocompress.compress import Changes
from autocompress.core.layer import Layer
from autocompress.structure import has_attribute, install

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


def transplant_(model: nn.Module, changes: Changes, rename: Rename) -> None:
    """Install in ``model``, in place, what was built for the saved model; parts that it lacks are left out."""
    modules = {name for name, _ in model.named_modules()}
    replaced = {rename(name): module for name, module in changes.modules.items()}
    edited = {rename(path): value for path, value in changes.attributes.items()}
    install(
        model,
        {name: module for name, module in replaced.items() if name is not None and name in modules},
        {path: value for path, value in edited.items() if path and has_attribute(model, path)},
    )
