"""Structure alone saves time in the tables: units carry their dense seconds, nothing is clipped or counted twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import tiny
import torch

from autocompress.core.policy import LayerPolicy
from autocompress.core.progress import silent
from autocompress.core.target import Target
from autocompress.engine import Limit, Problem, Resource
from autocompress.engine.model import Model
from autocompress.engine.reach import out_of_reach
from autocompress.estimate.latency import Cost
from autocompress.estimate.loss import Probed
from autocompress.estimate.pricing import Prices
from autocompress.estimate.table import Table, build_table
from autocompress.plugin.registry import load_registry
from autocompress.space.binding import bind
from autocompress.space.file import load_space
from autocompress.structure import find_layers

SHARES = {"attention": 0.15, "ffn": 0.45, "Linear": 0.02, "Embedding": 0.01}
"""Of the whole model's second: both attentions lie in the owners of the ffn groups, a whole block each."""


class Clock:
    """A cost table whose machine is exact: a structure's owner speeds up by what it drops, every linear by two."""

    refused: ClassVar[dict[str, str]] = {}

    def structures(self, _model: Any, layer: Any, _members: Any, _recorded: Any, options: Sequence[LayerPolicy]) -> Any:
        block = SHARES["ffn"] if layer.kind == "ffn" else SHARES["attention"]
        own = block - (SHARES["attention"] if layer.kind == "ffn" else 0.0)
        found = {}
        for option in options:
            keep = float(option.steps[0].params["keep"]) if option.steps else 1.0
            found[option.label()] = cost(block / (block - own * 0.8 * (1 - keep)))
        return found

    def modules(self, _layer: Any, _dense: Any, shape: Any, _recorded: Any, options: Sequence[LayerPolicy]) -> Any:
        return {option.label(): cost(2.0 if option.steps else 1.0, shape[0] * shape[1]) for option in options}

    def shares(self, dense: Mapping[str, Any]) -> dict[str, float]:
        kinds = {name: name.split()[2] if name.startswith("owner") else name.split()[0] for name in dense}
        return {name: SHARES[kind] for name, kind in kinds.items()}


class NoDamage:
    """Every option loses the same."""

    def cheap(self, _owner: str, _policy: Any) -> float:
        return 0.01

    def probe(self, _order: int, _policy: Any, cheap: float) -> Probed:
        return Probed(0.01, cheap)


def cost(speedup: float, size: int = 1) -> Cost:
    return Cost(1.0, size, speedup, speedup, speedup)


def table(space: str) -> Table:
    model, registry = tiny.model(), load_registry()
    example = {name: tensor[:2] for name, tensor in tiny.data().items()}
    layers = find_layers(model, example)
    flags = {"flags": ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]}
    binding = bind(load_space(space, registry.search_spaces), layers, registry, Target(fingerprint=flags))
    prices = Prices(model, layers, binding, registry, [example], silent)
    prices.measure_costs(Clock(), 1.0)  # type: ignore[arg-type]
    prices.measure_damage(NoDamage())  # type: ignore[arg-type]
    return build_table(
        prices.slots, prices.part_of, prices.depth, prices.slot, prices.structure, lambda policy: policy.label()
    )


@pytest.mark.parametrize("space", ["prune", "encoder-cpu", "full"])
def test_structure_is_cheaper_than_dense_by_what_it_saves(space: str) -> None:
    found = table(space)
    dense = found.predicted((0,) * len(found.units), "latency")
    assert dense == pytest.approx(2 * SHARES["ffn"] + (0.01 * 3 if space != "prune" else 0), rel=0.05)
    for unit, policies in zip(found.units, found.policies, strict=True):
        for option, policy in zip(unit.options, policies, strict=True):
            steps = [step for one in policy.values() for step in one.steps]
            if len(steps) == 1 and "keep" in steps[0].params and space == "prune":
                own = SHARES["attention"] if "head" in steps[0].technique else SHARES["ffn"] - SHARES["attention"]
                saved = unit.options[0].costs["latency"] - option.costs["latency"]
                assert saved == pytest.approx(own * 0.8 * (1 - float(steps[0].params["keep"])))


def test_a_latency_budget_is_aimed_at_with_structure_alone() -> None:
    found = table("prune")
    base = sum(unit.options[0].costs["latency"] for unit in found.units)
    line = Resource("latency", 1.0 - base, 1.0, 0.03)
    others = (Resource("memory"), Resource("size"))
    problem = Problem(found.units, (line, *others), (Limit("latency", 0.8),))
    model = Model(problem)
    policy = model.solve((1.0,))
    assert any(policy), "something must be pruned"
    assert model.predict(torch.tensor([policy]).numpy())["latency"][0] <= 0.8
    assert out_of_reach(problem) == {}
    tight = Problem(found.units, (line, *others), (Limit("latency", 0.05),))
    assert out_of_reach(tight)["latency"] == pytest.approx(model.reach("latency")[0])


def test_a_probe_that_gains_is_believed_as_far_as_it_was_seen() -> None:
    loss, gain = Probed(0.2, 0.1), Probed(-0.2, 0.1)
    assert [loss.damage(cheap) for cheap in (0.05, 0.1, 0.2)] == pytest.approx([0.1, 0.2, 0.4])
    assert [gain.damage(cheap) for cheap in (0.05, 0.1, 0.2, 0.3)] == pytest.approx([-0.1, -0.2, 0.0, 0.2])
    assert Probed(0.2, 0.0).damage(0.0) == 0.0
