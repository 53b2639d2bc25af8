"""A technique answers with new modules: those that it was given are the same before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autocompress.errors import TrialError


class ChangedError(TrialError):
    """Somebody changed, in place, modules that it was only given to read; they are as before again."""


@contextmanager
def untouched(modules: Iterable[nn.Module], who: str) -> Iterator[None]:
    """Whatever the block does to the parameters and buffers of ``modules`` is undone.

    Raises ChangedError, naming ``who`` and the first tensor, when it did anything. Tensors on meta have no values.
    """
    kept: dict[tuple[int, str], tuple[nn.Module, str, Tensor, Tensor]] = {}
    for top in modules:
        for module in top.modules():
            for store in (module._parameters, module._buffers):
                for name, tensor in store.items():
                    if tensor is not None and tensor.device.type != "meta":
                        kept.setdefault((id(module), name), (module, name, tensor, tensor.detach().clone()))
    try:
        yield
    finally:
        changed = [name for module, name, tensor, values in kept.values() if _restored(module, name, tensor, values)]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ChangedError(
            f"{who} changed {changed[0]!r}{more} of the dense model in place; it was restored. A technique must return "
            "new modules."
        )


def _restored(module: nn.Module, name: str, tensor: Tensor, values: Tensor) -> bool:
    """Put a tensor back as it was; whether it had been changed."""
    store = module._parameters if name in module._parameters else module._buffers
    replaced = store.get(name) is not tensor
    if replaced:
        setattr(module, name, tensor)
    same = tensor.shape == values.shape and tensor.dtype == values.dtype and _equal(tensor.detach(), values)
    if not same:
        with torch.no_grad():
            tensor.data = values
    return replaced or not same


def _equal(one: Tensor, other: Tensor) -> bool:
    """By value, NaN equal to NaN."""
    if torch.equal(one, other):
        return True
    return one.is_floating_point() and torch.equal(one.nan_to_num(), other.nan_to_num())
