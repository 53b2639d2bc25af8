"""Every option is priced, or dropped with its cause; a search goes on without it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from autocompress.contracts.linears import bias_of, make_linear, weight_of
from autocompress.contracts.technique import Calibration, Group, Replacement, Stage, Technique
from autocompress.core.domain import Domain, Value
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Step
from autocompress.core.progress import silent
from autocompress.core.target import Target
from autocompress.errors import NothingRunsError
from autocompress.estimate.latency import Cost
from autocompress.estimate.pricing import Prices
from autocompress.pipeline.doctor import faster_here
from autocompress.pipeline.plan import Plan, bind_space, make_plan
from autocompress.plugin.hooks import hookimpl
from autocompress.proof.inside import Inside, proven_inside
from autocompress.request.keys import contexts_of
from autocompress.request.names import check_names
from autocompress.request.request import SearchRequest
from autocompress.request.setup import Setup, set_up
from autocompress.space.binding import Binding, Slot
from autocompress.storage.store import Store

ROWS = 48


def prepared(model: nn.Module, x: Tensor, space: str | None = "full", **more: Any) -> Setup:
    model.eval().requires_grad_(False)
    request = SearchRequest(
        model=model, budgets=("size=90%",), data={"x": x}, task="other", space=space, threads=1, sequence=8, **more
    )
    return set_up(request, check_names(request), silent)


def planned(setup: Setup, folder: Path, binding: Binding | None = None) -> Plan:
    binding = binding or bind_space(setup, silent)
    return make_plan(setup, binding, Store(folder / "measurements.jsonl"), contexts_of(setup), 1e-3, silent)


def rows(*shape: int) -> Tensor:
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(0))


class Encoder(nn.Module):
    """Torch's own encoder layer computes with its linears' weights in one fused call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x))


def test_an_option_is_proven_inside_the_module_that_calls_its_layer() -> None:
    setup = prepared(Encoder(), rows(8, 32))
    bound = bind_space(setup, silent)
    assert "attention-heads on layer.self_attn:attention" in bound.dropped, "fused attention is named"
    inside = Inside(setup.model, setup.layers, setup.registry, [setup.example])
    binding, failed = proven_inside(inside, bound)
    assert "'LowRankLinear' object has no attribute 'bias'" in failed["svd on layer.linear1"]
    left = {layer.fqn: slot.options for slot in binding.slots for layer in slot.layers}
    assert "layer.linear1" not in left or not any("svd" in option.label() for option in left["layer.linear1"])
    assert any("svd" in option.label() for option in left["head"]), "where it runs it is offered"
    assert any(layer.fqn == "layer:ffn" for slot in binding.slots for layer in slot.layers)


class Experts(nn.Module):
    """Rows go to one of two experts by the sign of their first feature; the last linear runs three times."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.again = nn.Linear(32, 32), nn.Linear(32, 32)
        self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        chosen = (x[:, 0, 0] > 0).long()
        hidden = nn.functional.layer_norm(self.into(x), (32,))
        answer = torch.zeros_like(hidden)
        for number, expert in enumerate(self.experts):
            if (chosen == number).any():
                answer[chosen == number] = nn.functional.layer_norm(expert(hidden[chosen == number]), (32,))
        for _ in range(3):
            answer = torch.tanh(self.again(answer))
        return answer


def test_an_expert_is_priced_from_the_batch_that_reaches_it(tmp_path: Path) -> None:
    x = rows(8, 32)
    setup = prepared(Experts(), x)
    reached = int(setup.example["x"][0, 0, 0] > 0)
    assert {f"experts.{number}" for number in (0, 1)} <= {layer.fqn for layer in setup.layers}
    units = {unit.name: unit for unit in planned(setup, tmp_path).table.units}
    for name in ("experts.0", "experts.1"):
        assert len(units[name].options) > 1
        assert any(option.damage > 0 for option in units[name].options)
    seconds = {name: units[name].options[0].costs["latency"] for name in units}
    assert seconds[f"experts.{reached}"] > 0
    assert seconds[f"experts.{1 - reached}"] == 0, "the timed example does not reach it"


class FixedCosts:
    """A cost table with round figures: every module takes a tenth of the model, dense or not."""

    refused: ClassVar[dict[str, str]] = {}

    def modules(self, _layer: Layer, _dense: object, _shape: object, _call: object, options: Any) -> dict[str, Cost]:
        return {option.label(): Cost(1.0, 100, 1.0, 1.0, 1.0) for option in options}

    def shares(self, dense: Mapping[str, object]) -> dict[str, float]:
        return dict.fromkeys(dense, 0.1)


def test_a_layer_counts_as_often_as_it_is_called() -> None:
    setup = prepared(Experts(), rows(8, 32))
    step = LayerPolicy((Step("svd", {"rank": 8}),))
    named = {layer.fqn: layer for layer in setup.layers}
    slots = tuple(Slot(name, (named[name],), (LayerPolicy(), step)) for name in ("into", "again"))
    prices = Prices(setup.model, setup.layers, Binding(slots, {}), setup.registry, [setup.example], silent)
    prices.measure_costs(FixedCosts(), 1.0)  # type: ignore[arg-type]
    once, thrice = (prices._module_seconds(named[name], (32, 32), "dense") for name in ("into", "again"))
    assert once == pytest.approx(0.1)
    assert thrice == pytest.approx(0.3)


class Narrow(nn.Linear):
    """Runs at the width that it was made for only."""

    width: ClassVar[int] = 64

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-1] < self.width and self.in_features != 32:
            raise KeyError("no kernel for this width")
        return super().forward(input)


class Brittle(Technique):
    """What it returns does not run behind a pruned ffn."""

    name: ClassVar[str] = "brittle"
    stage: ClassVar[Stage] = Stage.QUANTIZE
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    everywhere: ClassVar[bool] = False

    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:  # noqa: ARG002
        return {}

    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:  # noqa: ARG002
        return self.build(group, params)

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:  # noqa: ARG002
        linear = group.modules["linear"]
        made = make_linear(weight_of(linear), bias_of(linear))
        made.__class__ = Narrow
        if self.everywhere:
            made.in_features, made.width = 0, 10**6
        return Replacement({"linear": made})


class Plugin:
    def __init__(self, technique: Technique) -> None:
        self._technique = technique

    @hookimpl
    def autocompress_techniques(self) -> list[Technique]:
        return [self._technique]


def space_file(folder: Path, *techniques: str) -> str:
    path = folder / "own.toml"
    path.write_text('description = "own"\n' + "".join(f'[[rule]]\ntechnique = "{name}"\n' for name in techniques))
    return str(path)


class Ffn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


def test_what_raises_while_it_is_priced_is_dropped_with_its_cause(tmp_path: Path) -> None:
    setup = prepared(Ffn(), rows(8, 32), space_file(tmp_path, "ffn-neurons", "brittle"), plugins=(Plugin(Brittle()),))
    plan = planned(setup, tmp_path)
    assert plan.binding.dropped["brittle on down"] == "KeyError: 'no kernel for this width'"
    (unit,) = plan.table.units
    labels = {option.label for option in unit.options}
    assert "dense" in labels
    assert any("ffn-neurons" in label for label in labels), "the other options are priced"


def test_a_space_of_which_no_option_runs_says_so_with_the_causes(tmp_path: Path) -> None:
    class Never(Brittle):
        everywhere = True

    setup = prepared(Ffn(), rows(8, 32), space_file(tmp_path, "brittle"), plugins=(Plugin(Never()),))
    with pytest.raises(NothingRunsError, match="no kernel for this width"):
        planned(setup, tmp_path)


class Leaves(Brittle):
    """Ends the process in which it is built."""

    name: ClassVar[str] = "leaves"

    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:  # noqa: ARG002
        os._exit(3)


def test_doctor_survives_an_option_that_ends_its_process(tmp_path: Path) -> None:
    space = space_file(tmp_path, "ffn-neurons", "leaves")
    request = SearchRequest(
        model=Ffn().eval().requires_grad_(False), data={"x": rows(8, 32)}, task="other", space=space, threads=1,
        sequence=8, plugins=(Plugin(Leaves()),),
    )  # fmt: skip
    answers = faster_here(request, silent)
    assert any("exit code 3" in row["unavailable"] for row in answers)
    assert any("ffn-neurons" in row["option"] and not row["unavailable"] for row in answers)
