"""Reading and replacing submodules and attributes by name."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
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
    """What modules hold as plain attributes (kept results, old-style `weight_norm`), and buffers written with a graph.

    Python cannot copy a tensor that was computed with gradients.
    """
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))
    yield from (buffer for buffer in model.buffers() if buffer.grad_fn is not None)


def set_module(model: nn.Module, fqn: str, module: nn.Module) -> None:
    """Put ``module`` in the place named ``fqn``."""
    parent, _, name = fqn.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def get_attribute(model: nn.Module, path: str) -> Any:
    """The attribute ``path`` of a submodule (``0.attention.num_heads``) or of its config (``0.attn.config.heads``).

    Raises AttributeError when there is none.
    """
    module, holder, name = _place(model, path)
    return getattr(getattr(module, holder) if holder else module, name)


def set_attribute(model: nn.Module, path: str, value: Any) -> None:
    """Set the attribute ``path``. A config is shared by the whole model: the submodule gets a copy of its own."""
    module, holder, name = _place(model, path)
    if not holder:
        setattr(module, name, value)
        return
    own = copy(getattr(module, holder))
    setattr(own, name, value)
    setattr(module, holder, own)


def has_attribute(model: nn.Module, path: str) -> bool:
    """Whether the model has what ``path`` names."""
    try:
        get_attribute(model, path)
    except AttributeError:
        return False
    return True


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
    places = [_place(model, path) for path in attributes]
    before = [(module, holder or name, getattr(module, holder or name)) for module, holder, name in places]
    try:
        install(model, modules, attributes)
        yield
    finally:
        install(model, before_modules, {})
        for module, name, value in reversed(before):
            setattr(module, name, value)


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str, str]:
    """The submodule, the name of the object on it that holds the attribute ("" is itself), and the attribute's name."""
    parent, _, name = path.rpartition(".")
    try:
        return model.get_submodule(parent), "", name
    except AttributeError:
        above, _, holder = parent.rpartition(".")
        module = model.get_submodule(above)
        if isinstance(getattr(module, holder), nn.Module):
            raise
        return module, holder, name
