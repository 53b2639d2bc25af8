"""Parametrized modules (`torch.nn.utils.parametrizations`) on their way to another process.

Torch gives each a class of its own, made while the program runs, and refuses to pickle it. Here it is taken apart into
the class that it was and its state, and parametrized again on arrival.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

Reduced = tuple[Any, tuple[type[nn.Module], tuple[str, ...]], dict[str, Any]]


def reduced(value: Any) -> Reduced | None:
    """How to pickle a parametrized module, as `object.__reduce__` would say it; None for anything else."""
    if not isinstance(value, nn.Module) or not parametrize.is_parametrized(value):
        return None
    names = tuple(value.parametrizations)  # type: ignore[arg-type]  # a ModuleDict
    return _again, (parametrize.type_before_parametrizations(value), names), vars(value)


def _again(kind: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    """An empty module of the class with computed tensors of these names; its state comes next."""
    module = kind.__new__(kind)
    parametrize._inject_new_class(module)
    for name in names:
        parametrize._inject_property(module, name)
    return module
