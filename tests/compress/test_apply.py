"""Policies become modules, on every family, and structures are rebuilt without weights."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from families import FAMILIES, Family

from autocompress.compress import (
    Workbench,
    apply_policy,
    build_policy_,
    check_policy,
    collect_statistics,
    parts,
)
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.errors import PluginError, PolicyError
from autocompress.measure.machine import detect_target
from autocompress.plugin.registry import Registry, load_registry
from autocompress.space.binding import bind
from autocompress.space.file import load_space
from autocompress.structure import call, find_layers, main_output


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def everything(layers: tuple[Layer, ...], registry: Registry) -> Policy:
    """The last (the most compressed) option of every slot of the full space."""
    space = load_space("full", registry.search_spaces)
    slots = bind(space, layers, registry, detect_target("cpu", threads=1)).slots
    return Policy({layer.fqn: slot.options[-1] for slot in slots for layer in slot.layers})


def test_every_family_is_compressed_and_rebuilt(family: Family, registry: Registry) -> None:
    model = family.build().eval().requires_grad_(False)
    inputs = family.inputs(2)
    layers = find_layers(model, inputs)
    statistics = collect_statistics(model, [x.fqn for x in layers if x.kind == "linear"], [family.inputs(6)])
    policy = everything(layers, registry)
    before = main_output(call(model, inputs)).clone()
    small = apply_policy(model, policy, layers, registry, statistics)
    after = main_output(call(small, inputs))
    assert after.shape == before.shape
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
    assert torch.equal(main_output(call(model, inputs)), before), "the caller's model was edited"
    empty = deepcopy(model)
    build_policy_(empty, policy, layers, registry)
    empty.load_state_dict(small.state_dict())
    assert torch.equal(main_output(call(empty, inputs)), after)


def test_the_workbench_is_the_applied_policy_and_goes_back(family: Family, registry: Registry) -> None:
    model = family.build().eval().requires_grad_(False)
    inputs = family.inputs(2)
    layers = find_layers(model, inputs)
    statistics = collect_statistics(model, [x.fqn for x in layers if x.kind == "linear"], [family.inputs(6)])
    policy = everything(layers, registry)
    half = Policy(dict(list(policy.layers.items())[::2]))
    bench = Workbench(model, layers, registry, statistics)
    dense = main_output(call(model, inputs))
    for wanted in (policy, half, policy, Policy(), half):
        expected = main_output(call(apply_policy(model, wanted, layers, registry, statistics), inputs))
        assert torch.equal(main_output(call(bench.set(wanted), inputs)), expected)
    assert torch.equal(main_output(call(bench.set(Policy()), inputs)), dense)


def test_statistics_leave_out_padding(bert: Family) -> None:
    model = bert.build().eval().requires_grad_(False)
    inputs = bert.inputs(4)
    inputs["attention_mask"][:, 5:] = 0
    name = "encoder.layer.0.attention.self.query"
    found = collect_statistics(model, [name], [inputs])[name]
    assert found.count == 4 * 5
    eigenvalues = torch.linalg.eigvalsh(found.covariance)
    assert eigenvalues.min() > -1e-6


def test_shared_inputs_share_statistics(bert: Family) -> None:
    model = bert.build().eval().requires_grad_(False)
    names = [f"encoder.layer.0.attention.self.{role}" for role in ("query", "key")]
    found = collect_statistics(model, names, [bert.inputs(4)])
    assert torch.equal(found[names[0]].second, found[names[1]].second)


def test_a_policy_for_another_architecture_is_refused(registry: Registry) -> None:
    model = FAMILIES["bert"].build().eval().requires_grad_(False)
    layers = find_layers(model, FAMILIES["bert"].inputs(2))
    with pytest.raises(PolicyError, match=r"another architecture.*'encoder.layer.9.output.dense'.*Near misses"):
        check_policy(Policy({"encoder.layer.9.output.dense": LayerPolicy((Step("int8"),))}), layers, registry)
    with pytest.raises(PluginError, match="unknown technique 'int9'"):
        check_policy(Policy({"encoder.layer.0.output.dense": LayerPolicy((Step("int9"),))}), layers, registry)
    with pytest.raises(PolicyError, match="does not apply to linear"):
        check_policy(Policy({"encoder.layer.0.output.dense": LayerPolicy((Step("ffn-neurons"),))}), layers, registry)
    wrong = LayerPolicy((Step("int8"), Step("svd", {"rank": 8})))
    with pytest.raises(PolicyError, match="follow the stages"):
        check_policy(Policy({"encoder.layer.0.output.dense": wrong}), layers, registry)


def test_parts_join_a_group_with_its_linears(bert: Family) -> None:
    layers = find_layers(bert.build().eval().requires_grad_(False), bert.inputs(2))
    part = parts(layers)
    assert part["encoder.layer.0:ffn"] == part["encoder.layer.0.output.dense"]
    assert part["encoder.layer.0:ffn"] != part["encoder.layer.1:ffn"]
    assert part["encoder.layer.0:ffn"] != part["encoder.layer.0.attention:attention"]
