"""One traced forward pass: which layers ran, in which order, and how each linear's input depends on the linears before.

Every linear's output is cut from the graph and made a leaf. The gradient of one element of a later linear's input with
respect to such a leaf then shows the direct coupling between the two, whatever operations lie between: element-wise
functions give one channel at one position, attention gives one head's block.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import ModelError
from autocompress.evaluator import inputs_of
from autocompress.linears import is_linear

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WINDOW = 12
"""How many linears before a linear may couple with it: more than any gated ffn or attention block has."""


@dataclass
class Trace:
    """The order of execution, and inputs and output leaves of the linears."""

    order: list[str] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    leaves: dict[str, Tensor] = field(default_factory=dict)

    @property
    def linears(self) -> list[str]:
        return [name for name in self.order if name in self.leaves]


@dataclass(frozen=True)
class Coupling:
    """The output features of one linear that one input channel of a later linear depends on.

    local: (out_features,) bool, dependence at the same position.   other: the same at other positions.
    """

    local: Tensor
    other: Tensor

    @property
    def any(self) -> Tensor:
        return self.local | self.other


def call(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """Run the model on inputs by name; ``labels`` and ``group`` are for evaluators and are left out.

    Without a key-value cache: a cache is changed by every call, so that no part could be replayed.
    """
    named = inputs_of(inputs)
    if "use_cache" in inspect.signature(model.forward).parameters:
        return model(**named, use_cache=False)
    return model(**named)


def trace(model: nn.Module, example: Mapping[str, Tensor]) -> Trace:
    """Run the model once on ``example``. Raises ModelError when it does not run."""
    found = Trace()

    def on_linear(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_()
            _record(found.order, name)
            found.inputs[name], found.leaves[name] = args[0], leaf
            return leaf

        return hook

    def on_other(name: str) -> Any:
        return lambda *_: _record(found.order, name)

    handles = []
    for name, module in model.named_modules():
        if is_linear(module):
            handles.append(module.register_forward_hook(on_linear(name)))
        elif isinstance(module, (nn.Embedding, *CONVOLUTIONS)):
            handles.append(module.register_forward_hook(on_other(name)))
    try:
        with torch.enable_grad():
            call(model, example)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(
            f"the model does not run on the example inputs {_shapes(example)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return found


def couplings(found: Trace, linear: str, channel: int) -> dict[str, Coupling]:
    """Linear name to its coupling with input ``channel`` of ``linear``; uncoupled ones are left out."""
    x = found.inputs[linear]
    if not x.requires_grad or x.ndim < 2:
        return {}
    names = found.linears
    before = names[max(0, names.index(linear) - WINDOW) : names.index(linear)]
    if not before:
        return {}
    # The last position: under a causal mask it is the one that sees all the others.
    position = (0,) if x.ndim == 2 else (0, *(size - 1 for size in x.shape[1:-1]))
    element = x[(*position, channel)]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(  # allow_unused gives None
        element, [found.leaves[n] for n in before], retain_graph=True, allow_unused=True
    )
    result: dict[str, Coupling] = {}
    for name, gradient in zip(before, gradients, strict=True):
        if gradient is None:
            continue
        flat = gradient.reshape(-1, gradient.shape[-1]) != 0
        index = _flat_index(gradient.shape[:-1], position) if gradient.ndim == x.ndim else 0
        local = flat[index]
        other = torch.cat([flat[:index], flat[index + 1 :]]).any(0) if len(flat) > 1 else torch.zeros_like(local)
        if bool((local | other).any()):
            result[name] = Coupling(local, other)
    return result


def _flat_index(shape: torch.Size, position: tuple[int, ...]) -> int:
    index = 0
    for size, at in zip(shape, position, strict=True):
        index = index * size + min(at, size - 1)
    return index


def _record(order: list[str], name: str) -> None:
    if name not in order:
        order.append(name)


def _shapes(example: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in example.items())
