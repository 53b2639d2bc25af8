"""Layers are found by running the model; groups are proven by cutting."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, Family
from torch import nn

from autocompress.core.layer import Layer
from autocompress.errors import ModelError
from autocompress.structure import find_layers


def built(family: Family) -> nn.Module:
    return family.build().eval().requires_grad_(False)


def of_kind(layers: tuple[Layer, ...], kind: str) -> list[Layer]:
    return [layer for layer in layers if layer.kind == kind]


def test_every_family_has_its_groups(family: Family) -> None:
    layers = find_layers(built(family), family.inputs(2))
    assert len(of_kind(layers, "ffn")) == family.ffn
    assert len(of_kind(layers, "attention")) == family.attention
    assert all(Layer.from_json(layer.to_json()) == layer for layer in layers)


def test_a_gated_ffn_has_three_roles() -> None:
    ffn = of_kind(find_layers(built(FAMILIES["llama"]), FAMILIES["llama"].inputs(2)), "ffn")[0]
    assert set(ffn.roles) == {"gate", "up", "down"}
    assert ffn.sizes == {"width": 64}


def test_grouped_query_attention_has_fewer_key_heads() -> None:
    attention = of_kind(find_layers(built(FAMILIES["llama"]), FAMILIES["llama"].inputs(2)), "attention")[0]
    assert attention.sizes == {"heads": 4, "kv_heads": 2, "head_dim": 8}
    assert attention.note == ""


def test_a_fused_projection_plays_three_roles_and_names_its_attributes() -> None:
    attention = of_kind(find_layers(built(FAMILIES["gpt2"]), FAMILIES["gpt2"].inputs(2)), "attention")[0]
    fused = {attention.roles[role].fqn for role in ("q", "k", "v")}
    assert len(fused) == 1
    assert [attention.roles[role].start for role in ("q", "k", "v")] == [0, 32, 64]
    assert any(path.endswith("split_size") for path in attention.edits)


def test_heads_that_share_a_bias_across_layers_are_noted_not_cut() -> None:
    attention = of_kind(find_layers(built(FAMILIES["t5"]), FAMILIES["t5"].inputs(2)), "attention")
    self_attention = [layer for layer in attention if "SelfAttention" in layer.fqn]
    assert self_attention
    assert all("used elsewhere" in layer.note for layer in self_attention)


def test_weights_shared_with_another_kind_are_noted() -> None:
    layers = {layer.fqn: layer for layer in find_layers(built(FAMILIES["gpt2"]), FAMILIES["gpt2"].inputs(2))}
    assert "lm_head" in layers["transformer.wte"].note
    assert "transformer.wte" in layers["lm_head"].note


def test_a_channel_used_twice_is_noted_not_cut() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down, self.other = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.up(x))
            return self.other(hidden) + self.down(hidden)[..., :4]

    layers = find_layers(Residual().eval(), {"x": torch.randn(2, 5, 8)})
    assert [layer.note for layer in of_kind(layers, "ffn")] == [
        "the features of up also reach down",
        "the features of up also reach other",
    ]
    assert len(of_kind(layers, "linear")) == 3


def test_what_does_not_run_is_not_found() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    assert [layer.fqn for layer in find_layers(Half().eval(), {"x": torch.randn(2, 4)})] == ["used"]


def test_a_model_that_does_not_run_is_one_clear_error() -> None:
    with pytest.raises(ModelError, match="does not run on the example inputs"):
        find_layers(nn.Linear(4, 4), {"input": torch.randn(2, 5)})
    with pytest.raises(ModelError, match="nothing to compress"):
        find_layers(nn.ReLU(), {"input": torch.randn(2, 5)})


def test_finding_leaves_the_model_as_it_was(family: Family) -> None:
    model = built(family)
    inputs = family.inputs(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = dict(model.named_modules())
    find_layers(model, inputs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(modules[name] is module for name, module in model.named_modules())
    assert not any(module._forward_hooks for module in model.modules())
