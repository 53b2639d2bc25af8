"""One traced forward pass: which layers ran, in which order, and how each linear's input depends on the linears before.

Every linear's output is cut from the graph and made a leaf. The gradient of one element of a later linear's input with
respect to such a leaf then shows the direct coupling between the two, whatever operations lie between: element-wise
functions give one channel at one position, attention gives one head's block.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.contracts.evaluator import inputs_of
from autocompress.contracts.linears import is_linear
from autocompress.errors import ModelError
from autocompress.structure.graph import tracking
from autocompress.structure.nested import main_input, main_output, map_tensors
from autocompress.structure.ordinary import oddity

logger = logging.getLogger(__name__)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WINDOW = 12
"""How many linears before a linear may couple with it: more than any gated ffn or attention block has."""


@dataclass
class Trace:
    """The order of execution, and inputs and output leaves of the linears.

    calls   every module that was called, to how often; a container that is only indexed is not called.
    odd     layers that do not compute what their kind does, to the reason: nothing can stand in for them.
    """

    order: list[str] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    leaves: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)

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


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a layer of its own: a linear, a convolution or an embedding."""
    return is_linear(module) or isinstance(module, (nn.Embedding, *CONVOLUTIONS))


def trace(model: nn.Module, example: Mapping[str, Tensor]) -> Trace:
    """Run the model once on a copy of ``example``. Raises ModelError when it does not run.

    A model that runs only without gradients is traced without couplings: its layers are found, its groups are not.
    """
    try:
        with tracking(model):
            return _traced(model, example, leaves=True)
    except Exception as error:  # what tracking gradients meets in a stranger's model may raise anything
        with torch.inference_mode(False), torch.no_grad():
            found = _checked(model, example)
        logger.warning(
            "%s runs only without gradients, so no group of layers can be found in it: %s: %s",
            type(model).__name__,
            type(error).__name__,
            error,
            exc_info=logger.isEnabledFor(logging.DEBUG),
        )
        return found


def _checked(model: nn.Module, example: Mapping[str, Tensor]) -> Trace:
    try:
        return _traced(model, example, leaves=False)
    except Exception as error:  # a stranger's model may raise anything
        raise ModelError(
            f"the model does not run on the example inputs {_shapes(example)}: {type(error).__name__}: {error}"
        ) from error


def _traced(model: nn.Module, example: Mapping[str, Tensor], *, leaves: bool) -> Trace:
    found = Trace()

    def before(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = main_input(args, kwargs)
            if x is None or x.numel():  # an expert that is given no row does not count as run
                found.calls[name] = found.calls.get(name, 0) + 1

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            x = main_input(args, kwargs)
            if x is None or not x.numel():
                return None
            if name not in found.order:
                found.order.append(name)
            reason = oddity(module, args, kwargs, output)
            if reason:
                found.odd[name] = reason
            if not leaves or not is_linear(module):
                return None
            answer = main_output(output)
            leaf = answer.detach().requires_grad_()
            if not reason:
                # As it is now: what comes next may change it in place.
                found.inputs[name], found.leaves[name] = x.clone(), leaf
            # A leaf cannot be changed in place, and the model may want to; its copy can.
            return map_tensors(lambda one: leaf.clone() if one is answer else one, output)

        return hook

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        if is_layer(module):
            handles.append(module.register_forward_hook(after(name), with_kwargs=True))
    try:
        call(model, {name: tensor.detach().clone() for name, tensor in example.items()})
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
    with torch.inference_mode(False), torch.enable_grad():
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


def _shapes(example: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in example.items())
