"""`LowRankLinear`: two thin linears in place of one."""

from __future__ import annotations

from torch import Tensor, nn


class LowRankLinear(nn.Sequential):
    """Two thin linears in place of one: ``Linear(in, rank, no bias)``, then ``Linear(rank, out)``."""

    @property
    def weight(self) -> Tensor:
        """The first factor. Models that look at a linear's dtype or device before they call it find it here."""
        weight = self[0].weight
        assert isinstance(weight, Tensor)
        return weight
