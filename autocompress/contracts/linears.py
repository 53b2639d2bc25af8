"""Linear layers whatever their class: `torch.nn.Linear`, and Transformers' transposed `Conv1D`.

Techniques read a weight with `weight_of` and answer with `make_linear`, so that they need not know which it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_linear(module: nn.Module) -> bool:
    """Whether the module computes ``x @ W.T + b`` with dense weights of its own."""
    from torch import nn

    return isinstance(module, nn.Linear) or _is_conv1d(module)


def weight_of(linear: nn.Module) -> Tensor:
    """The weight as (out_features, in_features), detached; shares memory with the module.

    Of an embedding or a convolution the weight as it is. A parametrized weight (`weight_norm`) is what it amounts to.
    """
    from torch import Tensor

    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.detach().T if _is_conv1d(linear) else weight.detach()


def bias_of(linear: nn.Module) -> Tensor | None:
    """The bias as (out_features,), detached, or None."""
    from torch import Tensor

    bias = getattr(linear, "bias", None)
    return bias.detach() if isinstance(bias, Tensor) else None


def make_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A new `nn.Linear` with copies of these values. weight: (out_features, in_features); bias: (out_features,)."""
    import torch

    out_features, in_features = weight.shape
    linear = empty_linear(in_features, out_features, bias=bias is not None, like=weight)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear


def empty_linear(in_features: int, out_features: int, *, bias: bool, like: Tensor) -> nn.Linear:
    """An `nn.Linear` with uninitialised weights, with the dtype and device of ``like`` (also meta)."""
    from torch import nn

    linear = nn.Linear(in_features, out_features, bias=bias, device="meta", dtype=like.dtype)
    linear.to_empty(device=like.device)
    return linear.requires_grad_(False).eval()


def leaves(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every linear inside a module (itself with the name ""), in the order of registration."""
    for name, child in module.named_modules():
        if is_linear(child):
            yield name, child


def _is_conv1d(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")
