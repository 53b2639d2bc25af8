"""The contract notices techniques that break it: each of these is wrong in one way."""
# ruff: noqa: ARG002 the arguments belong to the contract

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from torch import nn

from autocompress.contracts.linears import bias_of, empty_linear, make_linear, weight_of
from autocompress.contracts.technique import Calibration, Group, Replacement, Stage, Technique
from autocompress.core.domain import Choice, Domain, Value
from autocompress.core.layer import Layer
from autocompress.core.target import Target
from autocompress.errors import TrialError
from autocompress.testing import TechniqueContract
from autocompress.testing.groups import all_cases


class Scale(Technique):
    """Multiplies the weight; correct as it is."""

    name: ClassVar[str] = "scale"
    stage: ClassVar[Stage] = Stage.SPARSIFY
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    references: ClassVar[tuple[str, ...]] = ("this test",)

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:
        return {"by": Choice((0.9, 0.8))} if layer.kind == "linear" else None

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        if not isinstance(params["by"], float):
            raise TrialError(f"by={params['by']!r}: expected a number.")
        linear = group.modules["linear"]
        return Replacement({"linear": make_linear(weight_of(linear) * params["by"], bias_of(linear))})

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        weight = weight_of(group.modules["linear"])
        has_bias = bias_of(group.modules["linear"]) is not None
        return Replacement({"linear": empty_linear(weight.shape[1], weight.shape[0], bias=has_bias, like=weight)})


class EditsInPlace(Scale):
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        weight_of(group.modules["linear"]).mul_(float(params["by"]))
        return super().compress(group, params, calibration)


class ReturnsTheSame(Scale):
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        return Replacement(dict(group.modules))


class DrawsAtRandom(Scale):
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        weight = weight_of(group.modules["linear"])
        return Replacement({"linear": make_linear(weight + 0.01 * torch.randn_like(weight), None)})


class BuildsAnother(Scale):
    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        return Replacement({"linear": super().build(group, params).modules["linear"].half()})


class KeepsAnOldShape(Scale):
    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        rows, columns = group.layer.shapes["linear"]
        like, has_bias = weight_of(group.modules["linear"]), bias_of(group.modules["linear"]) is not None
        return Replacement({"linear": empty_linear(columns, rows, bias=has_bias, like=like)})


class GivesNan(Scale):
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        weight = weight_of(group.modules["linear"])
        return Replacement({"linear": make_linear(weight * torch.nan, None)})


class Hides(Scale):
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        class Opaque(nn.Module):
            def __init__(self, weight: torch.Tensor) -> None:
                super().__init__()
                self.register_buffer("weight", weight)

        return Replacement({"linear": Opaque(weight_of(group.modules["linear"]).clone())})


class BadName(Scale):
    name: ClassVar[str] = "Bad Name"


class TestScale(TechniqueContract):
    technique = Scale()


@pytest.mark.parametrize(
    ("technique", "test"),
    [
        (BadName(), "test_says_what_it_is"),
        (EditsInPlace(), "test_never_edits_what_it_is_given"),
        (ReturnsTheSame(), "test_never_edits_what_it_is_given"),
        (ReturnsTheSame(), "test_options_differ"),
        (DrawsAtRandom(), "test_is_deterministic"),
        (BuildsAnother(), "test_build_gives_the_same_structure"),
        (KeepsAnOldShape(), "test_follows_earlier_stages"),
        (GivesNan(), "test_output_is_finite_and_near"),
        (Hides(), "test_later_stages_can_follow"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_catches(technique: Technique, test: str) -> None:
    contract = TechniqueContract()
    contract.technique = technique  # type: ignore[misc]
    check, case = getattr(contract, test), all_cases(("linear",))[0]
    with pytest.raises(AssertionError):
        check() if test == "test_says_what_it_is" else check(case)
