"""Tensors in whatever a module takes or returns: nested tuples, lists, mappings, dataclasses and model outputs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from torch import Tensor

from autocompress.errors import ModelError

DEEPEST = 16
"""Levels that are looked into; a structure that holds itself has no end."""


def tensors(value: Any, depth: int = DEEPEST) -> Iterator[Tensor]:
    """Every tensor in a nested value, in order."""
    if isinstance(value, Tensor):
        yield value
    elif depth:
        for _, child in _children(value):
            yield from tensors(child, depth - 1)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nested value with every tensor replaced by ``function`` of it."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, value)


def map_leaves(function: Callable[[Any], Any], value: Any, depth: int = DEEPEST) -> Any:
    """The same nested value with ``function`` of everything that is not a container; what stays is not copied."""
    children = [] if isinstance(value, Tensor) or not depth else _children(value)
    if not children:
        return function(value)
    mapped = {name: map_leaves(function, child, depth - 1) for name, child in children}
    if all(mapped[name] is child for name, child in children):
        return value
    if isinstance(value, Mapping):
        if not isinstance(value, MutableMapping):
            return mapped
        made = copy.copy(value)
        for name, child in mapped.items():
            made[name] = child
        return made
    if isinstance(value, tuple | list):
        # Named tuples take their fields one by one; torch's own (of `max`, `topk`) take one sequence, as tuples do.
        kind: Any = type(value)
        return kind._make(mapped.values()) if hasattr(kind, "_make") else kind(mapped.values())
    made = copy.copy(value)
    for name, child in mapped.items():
        object.__setattr__(made, name, child)  # a dataclass may be frozen
    return made


def float_tensors(value: Any) -> dict[str, Tensor]:
    """The floating-point tensors of the outermost level that has any, by name or position; {} when there is none.

    >>> import torch
    >>> list(float_tensors(((torch.ones(1),), {"logits": torch.ones(1), "count": 3})))
    ['0.0', '1.logits']
    """
    level = [("0", value)] if isinstance(value, Tensor) else [(str(name), child) for name, child in _children(value)]
    for _ in range(DEEPEST):
        found = {name: one for name, one in level if isinstance(one, Tensor) and one.is_floating_point()}
        if found or not level:
            return found
        level = [(f"{name}.{inner}", child) for name, one in level for inner, child in _children(one)]
    return {}


def main_output(value: Any) -> Tensor:
    """The first of them: hidden states, logits, or the tensor itself. Raises ModelError when there is none."""
    for tensor in float_tensors(value).values():
        return tensor
    raise ModelError(f"the model returned {type(value).__name__} without a floating-point tensor; cannot score it.")


def main_input(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The first tensor that a module is called with, by position or else by keyword."""
    return next(tensors([*args, *kwargs.values()]), None)


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return []
