"""The tensors in whatever a module returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from autocompress.errors import ModelError


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, mappings and model outputs, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def main_output(value: Any) -> Tensor:
    """The first floating-point tensor of an output: hidden states, logits, or the tensor itself.

    Raises ModelError when there is none.
    """
    for tensor in tensors(value):
        if tensor.is_floating_point():
            return tensor
    raise ModelError(f"the model returned {type(value).__name__} without a floating-point tensor; cannot score it.")
