"""Groups of one fused linear, of sizes in a config, and a note in words for all that only looks like a group."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from families import ALL
from torch import Tensor, nn

from autocompress.core.layer import Layer
from autocompress.structure import find_layers, get_attribute
from autocompress.structure.modules import installed
from autocompress.testing.groups import Case, all_cases
from autocompress.testing.modules import Attention

GROUPS = all_cases(("ffn", "attention"))


def groups(model: nn.Module, inputs: dict[str, Tensor]) -> list[Layer]:
    return [layer for layer in find_layers(model.eval(), inputs) if layer.kind in ("ffn", "attention")]


def family(name: str) -> list[Layer]:
    torch.manual_seed(0)
    return groups(ALL[name].build().eval().requires_grad_(False), ALL[name].inputs(2))


@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case.name)
def test_every_contract_case_is_found_as_core_describes_it(case: Case) -> None:
    expected = case.group.layer
    [found] = groups(case.owner, {"x": case.inputs[:2, :6].contiguous()})
    assert (found.kind, found.note, found.sizes) == (expected.kind, "", expected.sizes)
    assert {role: at.rows() for role, at in found.roles.items()} == {
        role: at.rows() for role, at in expected.roles.items()
    }
    assert {role: at.fqn for role, at in found.roles.items()} == {role: at.fqn for role, at in expected.roles.items()}
    assert Layer.from_json(found.to_json()) == found


@pytest.mark.parametrize("name", ["phi3", "modernbert"])
def test_a_gate_and_an_up_of_one_linear_are_found_in_real_families(name: str) -> None:
    ffn = [layer for layer in family(name) if layer.kind == "ffn"]
    assert [layer.note for layer in ffn] == ["", ""]
    assert all(layer.roles["gate"].fqn == layer.roles["up"].fqn for layer in ffn)
    assert all((layer.roles["gate"].start, layer.roles["up"].start) == (0, 64) for layer in ffn)


def test_heads_side_by_side_are_found_in_a_real_family() -> None:
    attention = [layer for layer in family("gpt-neox") if layer.kind == "attention"]
    assert [layer.note for layer in attention] == ["", ""]
    assert attention[0].sizes == {"heads": 4, "kv_heads": 4, "head_dim": 8}
    assert attention[0].roles["k"].rows()[:9] == (*range(8, 16), 32)


def test_a_head_count_that_only_the_config_holds_is_edited_in_a_copy_of_it() -> None:
    attention = [layer for layer in family("phi3") if layer.kind == "attention"]
    assert [layer.note for layer in attention] == ["", ""]
    assert any(path.endswith("config.num_attention_heads") for path in attention[0].edits)


def test_an_attribute_that_equals_a_size_by_chance_stays() -> None:
    edits = {path for layer in family("gptj") if layer.kind == "attention" for path in layer.edits}
    assert not any(path.endswith("rotary_dim") for path in edits), edits


class ByConfig(nn.Module):
    """Reads the number of its heads from the config whenever it runs."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        self.q, self.k, self.v, self.out = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.config.heads, 8)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        return self.out((torch.softmax(q @ k.mT, -1) @ v).transpose(1, 2).flatten(-2))


class TwoOfOneConfig(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(heads=4)
        self.layers = nn.Sequential(ByConfig(self.config), ByConfig(self.config))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_a_config_of_its_own_leaves_the_shared_one_alone() -> None:
    model = TwoOfOneConfig().eval().requires_grad_(False)
    first, second = groups(model, {"x": torch.randn(2, 5, 16)})
    assert first.edits == {"layers.0.config.heads": "heads"}
    assert second.edits == {"layers.1.config.heads": "heads"}
    with installed(model, {}, {"layers.0.config.heads": 3}):
        assert get_attribute(model, "layers.0.config.heads") == 3
        assert get_attribute(model, "layers.1.config.heads") == 4
    assert model.layers[0].config is model.config


class Twice(nn.Module):
    """Its hidden layer is read by two linears."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.other = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.up(x))
        return self.other(hidden) + self.down(hidden)[..., :4]


class Fixed(nn.Module):
    """Its code holds the width as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x).view(-1, 16)))


class Crossed(nn.Module):
    """Halves of up are swapped on their way to down, so that no neuron lies where its neighbours say."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.tanh(self.up(x))[..., self.order])


class SharedBias(Attention):
    """Adds a bias for each head."""

    def __init__(self) -> None:
        super().__init__(16, 4, 4, 8)
        self.bias = nn.Parameter(torch.randn(1, 1, 4, 1))

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        q, k, v = super().project(x)
        return q + self.bias, k, v


class OneKey(Attention):
    def __init__(self) -> None:
        super().__init__(16, 4, 1, 8)


class TwoKeys(Attention):
    """Scores with two projections of the keys."""

    def __init__(self) -> None:
        super().__init__(16, 4, 4, 8)
        self.more = nn.Linear(16, 32)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        q, k, v = super().project(x)
        return q, k * self.more(x).unflatten(-1, (4, 8)), v


class Chain(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 8))


NOTES = {
    "features of up also reach": (Twice, (2, 5, 8), "x"),
    "code holds their number": (Fixed, (2, 5, 8), "x"),
    "do not lie at equal distances": (Crossed, (2, 5, 8), "x"),
    "as by a bias for each": (SharedBias, (2, 5, 16), "x"),
    "all 4 heads read one key-value head": (OneKey, (2, 5, 16), "x"),
    "more than one block of q, one of k": (TwoKeys, (2, 5, 16), "x"),
    "a linear is in one group at most": (Chain, (2, 5, 8), "input"),
}


@pytest.mark.parametrize("words", NOTES)
def test_what_only_looks_like_a_group_says_why(words: str) -> None:
    build, shape, name = NOTES[words]
    torch.manual_seed(0)
    found = groups(build().requires_grad_(False), {name: torch.randn(shape)})
    assert any(words in layer.note for layer in found), [layer.note for layer in found]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segformer", "positions mix between"),
        ("bloom", "heads are used elsewhere"),
        ("gpt-bigcode", "read one key-value head"),
        ("olmo2", "a norm across heads"),
        ("deberta-v2", "more than one block"),
        ("xlnet", "weights of its own (q, k, v, o, r"),
        ("torch-depth-wise", "positions mix between up and down"),
    ],
)
def test_near_candidates_of_real_families_are_noted(name: str, words: str) -> None:
    assert any(words in layer.note for layer in family(name))


def test_two_groups_of_one_owner_have_names_of_their_own() -> None:
    model = nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8), nn.LayerNorm(8), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)
    ).requires_grad_(False)  # fmt: skip
    found = groups(model, {"input": torch.randn(2, 5, 8)})
    assert [layer.fqn for layer in found] == [":ffn", ":ffn2"]
    assert [layer.note for layer in found] == ["", ""]
