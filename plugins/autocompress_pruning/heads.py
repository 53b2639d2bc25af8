"""`attention-heads`: fewer heads in an attention group, whole key-value groups at a time."""

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
from autocompress_pruning.counts import fraction, fractions_for, kept_heads
from autocompress_pruning.exits import moment_of, reconstructed, statistics_of
from autocompress_pruning.memory import OrderMemory
from autocompress_pruning.slicing import cut_columns, cut_rows, empty_columns, empty_rows

if TYPE_CHECKING:
    from torch import Tensor, nn


class AttentionHeads(Technique):
    """Removes the heads that the output projection can best do without, and re-solves it.

    ``keep`` is the fraction of key-value heads kept; each goes with all its query heads, so that the ratio of heads to
    key-value heads stays. The kernels are those of a smaller dense layer, real on every target.
    """

    name: ClassVar[str] = "attention-heads"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    kinds: ClassVar[tuple[str, ...]] = ("attention",)
    needs_calibration: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("arXiv:2302.04089", "arXiv:1905.10650")

    def __init__(self) -> None:
        self._orders = OrderMemory()

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:  # noqa: ARG002
        if layer.kind not in self.kinds or layer.note:
            return None
        choice = fractions_for(layer.sizes["kv_heads"], kept_heads)
        return None if choice is None else {"keep": choice}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        from autocompress_pruning.surgeon import block_order

        out, total = group.modules["out"], group.layer.sizes["kv_heads"]
        statistics = statistics_of(calibration, "out", out)
        count = kept_heads(fraction(params), total)
        order = self._orders.get(weight_of(out), moment_of(out, statistics), lambda w, m: block_order(w, m, total))
        heads = order[total - count :].sort().values
        kept = _columns(group, heads)
        return _replacement(group, heads, kept, reconstructed(out, statistics, kept))

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        out, sizes = group.modules["out"], group.layer.sizes
        count = kept_heads(fraction(params), sizes["kv_heads"])
        counts = {role: _rows_per_group(group, role) * count for role in ("q", "k", "v")}
        columns = weight_of(out).shape[1] // sizes["kv_heads"] * count
        modules = empty_rows(group, counts)
        return Replacement({**modules, "out": empty_columns(out, columns)}, _sizes(group, count))


def prune_heads(group: Group, heads: Tensor) -> Replacement:
    """The group with only these key-value heads and nothing re-solved: equal to masking the others' outputs."""
    kept = _columns(group, heads)
    return _replacement(group, heads, kept, cut_columns(group.modules["out"], kept))


def _replacement(group: Group, heads: Tensor, kept: Tensor, out: nn.Module) -> Replacement:
    rows = {role: _expand(heads, _rows_per_group(group, role)) for role in ("q", "k", "v")}
    return Replacement({**cut_rows(group, rows), "out": out}, _sizes(group, len(heads)), {"out": kept})


def _columns(group: Group, heads: Tensor) -> Tensor:
    """The input features of ``out`` that these key-value heads' query heads fill."""
    return _expand(heads, weight_of(group.modules["out"]).shape[1] // group.layer.sizes["kv_heads"])


def _rows_per_group(group: Group, role: str) -> int:
    """How many rows of a role belong to one key-value head: q has several heads there when queries are grouped."""
    return len(group.layer.roles[role].rows()) // group.layer.sizes["kv_heads"]


def _expand(units: Tensor, size: int) -> Tensor:
    import torch

    return (units[:, None] * size + torch.arange(size, device=units.device)).flatten()


def _sizes(group: Group, kv_heads: int) -> dict[str, int]:
    sizes = group.layer.sizes
    heads = kv_heads * (sizes["heads"] // sizes["kv_heads"])
    inner, kv_inner = heads * sizes["head_dim"], kv_heads * sizes["head_dim"]
    return {**sizes, "heads": heads, "kv_heads": kv_heads, "inner": inner, "kv_inner": kv_inner}
