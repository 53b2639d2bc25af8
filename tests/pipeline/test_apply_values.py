"""A policy whose values a technique cannot take is bad input, not a failed trial."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import autocompress as ac
from autocompress.errors import PolicyError


class Two(nn.Module):
    """A feed-forward part and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


VALUES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no rank": ("up", "svd", {}),
    "rank of text": ("up", "svd", {"rank": "x"}),
    "rank below one": ("up", "svd", {"rank": -3}),
    "rank of none": ("up", "svd", {"rank": 0}),
    "keep of text": (":ffn", "ffn-neurons", {"keep": "half"}),
    "keep too much": (":ffn", "ffn-neurons", {"keep": 7.0}),
    "keep nothing": (":ffn", "ffn-neurons", {"keep": -1.0}),
    "no dtype": ("up", "cast", {"dtype": "complex64"}),
    "dtype of a number": ("up", "cast", {"dtype": 3}),
    "no activations": ("up", "int8", {"activations": "feeling"}),
    "activations of a number": ("up", "int8", {"activations": 3}),
}


@pytest.mark.parametrize("row", VALUES)
def test_values_out_of_their_domain(row: str) -> None:
    layer, technique, params = VALUES[row]
    policy = ac.Policy({layer: ac.LayerPolicy((ac.Step(technique, params),))})
    torch.manual_seed(0)
    with pytest.raises(PolicyError) as caught:
        ac.apply(policy, Two().eval(), data={"x": torch.randn(60, 64)}, threads=1, task="other")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert f"{technique}(" in str(caught.value) or technique in str(caught.value)
