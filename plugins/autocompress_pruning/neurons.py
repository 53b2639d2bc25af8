"""`ffn-neurons`: fewer hidden neurons in a feed-forward group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from autocompress.plugin import (
    Calibration,
    Domain,
    Group,
    Layer,
    Replacement,
    Stage,
    Target,
    Technique,
    Value,
    weight_of,
)
from autocompress_pruning.counts import fraction, fractions_for, kept_width
from autocompress_pruning.exits import moment_of, reconstructed, statistics_of
from autocompress_pruning.memory import OrderMemory
from autocompress_pruning.slicing import cut_columns, cut_rows, empty_columns, empty_rows

if TYPE_CHECKING:
    from torch import Tensor


class FfnNeurons(Technique):
    """Removes the hidden neurons that the down projection can best do without, and re-solves it.

    ``keep`` is the fraction of neurons kept; the width becomes the nearest multiple of 8. The kernels are those of a
    smaller dense layer, real on every target.
    """

    name: ClassVar[str] = "ffn-neurons"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    kinds: ClassVar[tuple[str, ...]] = ("ffn",)
    needs_calibration: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("arXiv:2302.04089", "arXiv:2301.00774")

    def __init__(self) -> None:
        self._orders = OrderMemory()

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:  # noqa: ARG002
        if layer.kind not in self.kinds or layer.note:
            return None
        choice = fractions_for(layer.sizes["width"], kept_width)
        return None if choice is None else {"keep": choice}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        from autocompress_pruning.surgeon import removal_order

        down = group.modules["down"]
        statistics = statistics_of(calibration, "down", down)
        width = int(weight_of(down).shape[1])
        count = kept_width(fraction(params), width)
        order = self._orders.get(weight_of(down), moment_of(down, statistics), removal_order)
        kept = order[width - count :].sort().values
        modules = cut_rows(group, dict.fromkeys(_makers(group), kept))
        modules["down"] = reconstructed(down, statistics, kept)
        return Replacement(modules, {"width": count}, {"down": kept})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        down = group.modules["down"]
        count = kept_width(fraction(params), int(weight_of(down).shape[1]))
        modules = empty_rows(group, dict.fromkeys(_makers(group), count))
        return Replacement({**modules, "down": empty_columns(down, count)}, {"width": count})


def prune_neurons(group: Group, kept: Tensor) -> Replacement:
    """The group with only these neurons and nothing re-solved: equal to masking the others. kept: sorted indices."""
    modules = cut_rows(group, dict.fromkeys(_makers(group), kept))
    modules["down"] = cut_columns(group.modules["down"], kept)
    return Replacement(modules, {"width": len(kept)}, {"down": kept})


def _makers(group: Group) -> tuple[str, ...]:
    return tuple(role for role in group.modules if role != "down")
