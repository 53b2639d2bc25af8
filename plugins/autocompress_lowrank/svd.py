"""`svd`: one linear as two thin ones."""

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
    TrialError,
    Value,
    bias_of,
    empty_linear,
    make_linear,
    weight_of,
)
from autocompress_lowrank.ranks import offered_ranks, paying_rank

if TYPE_CHECKING:
    from torch import nn


class Svd(Technique):
    """Factorises a linear into two of a lower rank, by the singular values on the inputs that calibration saw.

    ``rank`` is the inner width; where an earlier stage left a smaller matrix it is lowered to the largest rank that
    still pays. The result is a `LowRankLinear`, real on every target.
    """

    name: ClassVar[str] = "svd"
    stage: ClassVar[Stage] = Stage.FACTORIZE
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    needs_calibration: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("arXiv:2403.07378",)

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:  # noqa: ARG002
        if layer.kind not in self.kinds or layer.tied or layer.note:
            return None
        choice = offered_ranks(*layer.shapes["linear"])
        return None if choice is None else {"rank": choice}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        import torch

        from autocompress_lowrank.low_rank_linear import LowRankLinear
        from autocompress_lowrank.whitening import factors

        linear = group.modules["linear"]
        weight, bias = weight_of(linear), bias_of(linear)
        rank = _rank(params, linear)
        if "linear" not in calibration:
            raise TrialError(f"svd needs calibration statistics of {group.layer.fqn!r}; none were collected.")
        seen = calibration["linear"]
        # With a bias to carry what is lost at the mean, only the deviations from it need the rank.
        moment = (seen.second if bias is None else seen.covariance).to(weight.device)
        if not bool(torch.isfinite(moment).all()):
            raise TrialError(f"statistics of {group.layer.fqn!r} hold NaN or infinity; check the calibration data.")
        second, first = factors(weight, moment, rank)
        if bias is not None:
            mean = seen.mean.to(weight.device).double()
            bias = (bias.double() + weight.double() @ mean - second @ (first @ mean)).to(bias.dtype)
        pair = LowRankLinear(make_linear(first.to(weight.dtype), None), make_linear(second.to(weight.dtype), bias))
        return Replacement({"linear": pair.eval()})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        from autocompress_lowrank.low_rank_linear import LowRankLinear

        linear = group.modules["linear"]
        weight, rank = weight_of(linear), _rank(params, linear)
        rows, columns = weight.shape
        pair = LowRankLinear(
            empty_linear(columns, rank, bias=False, like=weight),
            empty_linear(rank, rows, bias=bias_of(linear) is not None, like=weight),
        )
        return Replacement({"linear": pair.eval()})


def _rank(params: Mapping[str, Value], linear: nn.Module) -> int:
    rank = params.get("rank")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise TrialError(f"rank={rank!r}: expected a whole number from 1.")
    rows, columns = weight_of(linear).shape
    return paying_rank(rank, rows, columns)
