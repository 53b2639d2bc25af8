"""Reading and replacing submodules and attributes by name."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def owner_of(fqns: Sequence[str]) -> str:
    """The name of the smallest module that holds all of them: their longest common prefix of whole names."""
    parts = [fqn.split(".") for fqn in fqns]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


def nearest(fqn: str, called: Container[str]) -> str:
    """The module itself or else the smallest one around it that is called: a list of modules never is, "" always."""
    while fqn and fqn not in called:
        fqn = fqn.rpartition(".")[0]
    return fqn


def loose(model: nn.Module) -> Iterator[Tensor]:
    """Tensors that modules hold as plain attributes: kept results, old-style `weight_norm`. Python cannot copy those
    that were computed with gradients."""
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def set_module(model: nn.Module, fqn: str, module: nn.Module) -> None:
    """Put ``module`` in the place named ``fqn``."""
    parent, _, name = fqn.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def get_attribute(model: nn.Module, path: str) -> Any:
    """The attribute ``path`` of a submodule, such as ``encoder.0.attention.num_heads``."""
    parent, _, name = path.rpartition(".")
    return getattr(model.get_submodule(parent), name)


def set_attribute(model: nn.Module, path: str, value: Any) -> None:
    """Set the attribute ``path`` of a submodule."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, value)


def install(model: nn.Module, modules: Mapping[str, nn.Module], attributes: Mapping[str, Any]) -> None:
    """Put several modules and attributes in their places."""
    for fqn, module in modules.items():
        set_module(model, fqn, module)
    for path, value in attributes.items():
        set_attribute(model, path, value)


@contextmanager
def installed(model: nn.Module, modules: Mapping[str, nn.Module], attributes: Mapping[str, Any]) -> Iterator[None]:
    """The same for the length of a ``with`` block; what was there before comes back, also after an error."""
    before_modules = {fqn: model.get_submodule(fqn) for fqn in modules}
    before_attributes = {path: get_attribute(model, path) for path in attributes}
    try:
        install(model, modules, attributes)
        yield
    finally:
        install(model, before_modules, before_attributes)
