"""Gradients through any model that runs in evaluation mode, whatever it changes in place on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextmanager
def tracking(model: nn.Module) -> Iterator[None]:
    """While the block runs, gradients are tracked to tensors that are made leaves in it, and to no parameter.

    What autograd forbids and evaluation allows is allowed: changing a tensor that a gradient needs (it is kept as it
    was), and changing one of several views (each becomes a view of its own). No tensor of the model keeps a graph.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        return tensor.detach() if tensor.data_ptr() in weights else tensor.detach().clone()

    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            _SingleViews(),
        ):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        _forget_graph_(model)


class _SingleViews(TorchFunctionMode):
    """Turns the views that one call gives together (`chunk`, `unbind`) into views of their own.

    Autograd refuses a change in place of the former and follows one of the latter.
    """

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        base = args[0] if args else None
        if type(result) not in (tuple, list) or not isinstance(base, Tensor) or not base.requires_grad:
            return result
        if not all(isinstance(one, Tensor) and one._is_view() and _shares(one, base) for one in result):
            return result
        return type(result)(base.as_strided(one.size(), one.stride(), one.storage_offset()) for one in result)


def _shares(view: Tensor, base: Tensor) -> bool:
    return view.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()


def _forget_graph_(model: nn.Module) -> None:
    """Cut what the model wrote on itself (a buffer, a kept attention map) from the graph, in place."""
    for buffer in model.buffers():
        if buffer.grad_fn is not None:
            buffer.detach_()
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                module.__dict__[name] = value.detach()
