"""Whatever runs in evaluation mode is traced: each mechanism as a small model."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.compress import apply_policy, collect_statistics, share
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.errors import ModelError
from autocompress.plugin.registry import load_registry
from autocompress.structure import call, find_layers

EXAMPLE = {"x": torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))}


def normal(x: Tensor) -> Tensor:
    """Mixes the channels, so that what comes before is no ffn with what comes after."""
    return nn.functional.layer_norm(x, x.shape[-1:])


class Ffn(nn.Module):
    """An ffn between two linears; subclasses say what happens to the hidden features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8)

    def between(self, hidden: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.between(self.up(normal(self.first(x)))))


class InPlaceRelu(Ffn):
    def between(self, hidden: Tensor) -> Tensor:
        return nn.functional.relu(hidden, inplace=True)


class InPlaceSum(Ffn):
    def between(self, hidden: Tensor) -> Tensor:
        hidden += 1
        hidden[:, :1] = 0
        return hidden.sigmoid_()


class NeededForTheGradient(Ffn):
    """Autograd refuses to go back through `exp` once its result was changed."""

    def between(self, hidden: Tensor) -> Tensor:
        grown = hidden.mul(0.1).exp()
        grown += 1
        return grown


class SeveralViews(Ffn):
    """Autograd refuses to change one of several views that one call gave."""

    def between(self, hidden: Tensor) -> Tensor:
        for part in hidden.chunk(2, dim=-1):
            part += 1
        left, right = hidden.tensor_split(2, dim=-1)
        right.tanh_()
        left.tanh_()
        return hidden


class WritesOnItself(Ffn):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 5, 1))

    def between(self, hidden: Tensor) -> Tensor:
        self.last = hidden.tanh()
        self.kept.copy_(self.last.mean(-1, keepdim=True))
        return self.last


def built(kind: type[nn.Module]) -> nn.Module:
    return kind().eval().requires_grad_(False)


def named(model: nn.Module, *more: Any) -> dict[str, Layer]:
    return {layer.fqn: layer for layer in find_layers(model, EXAMPLE, *more)}


@pytest.mark.parametrize("kind", [InPlaceRelu, InPlaceSum, NeededForTheGradient, SeveralViews, WritesOnItself])
def test_what_is_changed_in_place_is_followed(kind: type[nn.Module]) -> None:
    layers = named(built(kind))
    assert {"first", "up", "down", ":ffn"} <= layers.keys()
    assert layers[":ffn"].note == ""
    assert {role: at.fqn for role, at in layers[":ffn"].roles.items()} == {"up": "up", "down": "down"}


def test_a_model_that_writes_on_itself_keeps_no_graph_and_can_be_copied() -> None:
    model = WritesOnItself().eval()  # with parameters that require gradients
    layers = find_layers(model, EXAMPLE)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.kept.grad_fn is None
    assert model.last.grad_fn is None
    with torch.enable_grad():
        call(model, EXAMPLE)  # the caller's own pass leaves a graph on it, which Python cannot copy
    assert torch.equal(call(share(model), EXAMPLE), call(model, EXAMPLE))
    assert apply_policy(model, Policy(), layers, load_registry(), {}).last is not model.last


def test_a_model_that_runs_only_without_gradients_is_found_without_groups(caplog: pytest.LogCaptureFixture) -> None:
    class Numpy(Ffn):
        def between(self, hidden: Tensor) -> Tensor:
            return torch.from_numpy(np.tanh(hidden.numpy()))

    with caplog.at_level(logging.WARNING):
        layers = named(built(Numpy))
    assert layers.keys() == {"first", "up", "down"}
    assert "runs only without gradients" in caplog.text


def test_a_model_that_changes_its_input_is_refused_in_one_line() -> None:
    class Normalises(Ffn):
        def forward(self, x: Tensor) -> Tensor:
            x -= x.mean()
            return self.first(x)

    before = EXAMPLE["x"].clone()
    with pytest.raises(ModelError, match=r"changes its input 'x' in place.*x = x.clone\(\)"):
        find_layers(built(Normalises), EXAMPLE)
    assert torch.equal(EXAMPLE["x"], before)


def test_linears_called_by_keyword_are_layers_like_others() -> None:
    class Keyword(Ffn):
        def forward(self, x: Tensor) -> Tensor:
            return self.down(input=torch.tanh(self.up(input=normal(self.first(input=x)))))

    model = built(Keyword)
    assert named(model)[":ffn"].note == ""
    found = collect_statistics(model, ["up", "down"], [EXAMPLE])
    assert found["down"].second.shape == (16, 16)


class PairLinear(nn.Linear):
    def forward(self, input: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return super().forward(input), None


def test_a_linear_that_returns_a_tuple_is_named_and_the_others_found() -> None:
    class Tuples(Ffn):
        def __init__(self) -> None:
            super().__init__()
            self.first = PairLinear(8, 8)

        def forward(self, x: Tensor) -> tuple[dict[str, Tensor]]:
            return ({"hidden": self.down(torch.tanh(self.up(normal(self.first(x)[0]))))},)

    layers = named(built(Tuples))
    assert layers["first"].note == "its class PairLinear returns a tuple, where a linear returns a tensor"
    assert layers[":ffn"].note == ""


def test_a_linear_with_a_forward_of_its_own_is_plain_when_it_gives_the_same() -> None:
    class Same(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return input @ self.weight.T + self.bias

    class Other(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * input.mean()

    class Model(Ffn):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = Same(8, 16), Other(16, 8)

        def between(self, hidden: Tensor) -> Tensor:
            return hidden

    layers = named(built(Model))
    assert layers["up"].note == ""
    assert "Other computes something else" in layers["down"].note


def test_an_embedding_that_computes_its_index_is_named() -> None:
    class Positions(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(torch.arange(input.shape[1]) + 2)

    class Scaled(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 8

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.positions, self.out = Scaled(9, 8), Positions(12, 8), nn.Linear(8, 9)

        def forward(self, ids: Tensor) -> Tensor:
            hidden = self.words(ids)
            return self.out(hidden + self.positions(hidden))

    layers = {layer.fqn: layer for layer in find_layers(built(Model), {"ids": torch.randint(9, (2, 5))})}
    assert layers["words"].note == ""
    assert layers["positions"].note == "its class Positions computes the index of its rows itself"


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm], ids=["new", "old"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_that_are_computed_have_a_shape(norm: Any) -> None:
    class Model(Ffn):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.up = norm(nn.Linear(8, 8)), norm(nn.Linear(8, 16))
            self.conv = norm(nn.Conv1d(5, 5, 3, padding=1))

        def between(self, hidden: Tensor) -> Tensor:
            return torch.tanh(hidden)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.conv(x))

    model = Model().eval()
    layers = named(model)
    assert layers["conv"].shapes == {"conv": (5, 5, 3)}
    assert layers["up"].shapes == {"linear": (16, 8)}
    assert not any(layer.tied for layer in layers.values())
    assert layers[":ffn"].note == ""
    assert torch.equal(call(share(model), EXAMPLE), call(model, EXAMPLE))


def test_fused_attention_is_named() -> None:
    model = Encoder().eval()
    layers = named(model)
    fused = layers["layer.self_attn:attention"]
    assert "MultiheadAttention reads its fused weights" in fused.note
    assert fused.n_params == sum(p.numel() for p in model.layer.self_attn.parameters())
    assert fused.order <= layers["layer.linear1"].order


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Experts(nn.Module):
    """Each row goes to one of three experts, by its first feature; each expert is a list, which is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(8, 8)
        self.experts = nn.ModuleList(nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 8)]) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        chosen = x[:, 0, 0].round().clamp(0, 2)
        hidden, answer = normal(self.into(x)), torch.zeros_like(x)
        for number, (up, down) in enumerate(self.experts):
            answer[chosen == number] = down(torch.tanh(up(hidden[chosen == number])))
        return answer


def routed(*numbers: int) -> dict[str, Tensor]:
    x = torch.randn(len(numbers), 5, 8, generator=torch.Generator().manual_seed(len(numbers)))
    x[:, 0, 0] = torch.tensor(numbers, dtype=x.dtype)
    return {"x": x}


def test_experts_are_found_on_the_inputs_that_reach_them_and_proven_there() -> None:
    model = built(Experts)
    few = {layer.fqn for layer in find_layers(model, routed(0, 0))}
    assert "experts.0.0" in few
    assert "experts.1.0" not in few, "it is called with no row at all"
    layers = {layer.fqn: layer for layer in find_layers(model, routed(0, 0), [routed(0, 0, 0, 2)])}
    assert {"experts.2.0", "experts.2:ffn"} <= layers.keys()
    assert "experts.1.0" not in layers
    group = layers["experts.2:ffn"]
    assert group.note == ""
    assert group.owner == "", "a list is not called: the model around it is what can be replayed"
    orders = [layer.order for layer in layers.values() if layer.kind == "linear"]
    assert sorted(orders) == list(range(len(orders)))


def test_two_groups_in_one_module_have_names_of_their_own() -> None:
    model = nn.Sequential(
        *(part for _ in range(2) for part in (nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8), nn.LayerNorm(8)))
    )
    layers = [layer for layer in find_layers(model.eval(), {"input": torch.randn(3, 8)}) if layer.kind == "ffn"]
    assert [layer.fqn for layer in layers] == [":ffn", ":ffn2"]
    assert layers[0].modules != layers[1].modules
