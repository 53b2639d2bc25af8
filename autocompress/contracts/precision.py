"""What a quantised layer is, whatever runs it: techniques say which, runtimes say whether they have a kernel for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Precision:
    """How a linear keeps its weights and reads its input.

    weights      the number format: ``int8``, ``bfloat16``, ...
    scales       ``row``: one scale an output row; "" for formats without.
    activations  how the input is quantised to 8 bits at each call: ``tensor`` with one range, ``token`` with one after
                 each row was divided by its largest entry; "" leaves it as it comes.
    """

    weights: str
    scales: str = ""
    activations: str = ""

    def __str__(self) -> str:
        scales = f" with a scale a {self.scales}" if self.scales else ""
        activations = f" and 8-bit activations by {self.activations}" if self.activations else ""
        return f"{self.weights} weights{scales}{activations}"


@dataclass(frozen=True)
class QuantizedLinear:
    """The numbers of a quantised linear: ``y = x (weight * scale[:, None])ᵀ + bias``, x as the precision reads it.

    weight: integers (out_features, in_features).   scale: (out_features,).   bias: (out_features,) or None.
    """

    precision: Precision
    weight: Tensor
    scale: Tensor
    bias: Tensor | None


@runtime_checkable
class Quantized(Protocol):
    """A module that says what it is, so that a runtime can put a kernel of its own in its place."""

    def quantized(self) -> QuantizedLinear:
        """Its numbers; they stay the module's own."""
