"""Pruning: scores and reconstruction against magnitude, cuts against masks, counts."""

from __future__ import annotations

import pytest
import torch
from autocompress_pruning.counts import fractions_for, kept_heads, kept_width
from autocompress_pruning.heads import AttentionHeads, prune_heads
from autocompress_pruning.neurons import FfnNeurons, prune_neurons
from autocompress_pruning.surgeon import block_order, reconstruct, removal_order
from torch import Tensor

from autocompress.contracts.technique import Replacement, Statistics
from autocompress.errors import TrialError
from autocompress.testing.groups import HEAD_DIM, Case, all_cases, correlated

FFN = [case.name for case in all_cases(("ffn",))]
ATTENTION = [case.name for case in all_cases(("attention",))]


def _case(name: str) -> Case:
    return next(case for case in all_cases() if case.name == name)


def _error(weight: Tensor, solved: Tensor, kept: Tensor, x: Tensor) -> float:
    return float((x @ weight.T - x[:, kept] @ solved.T.to(x.dtype)).square().sum())


def test_surgeon_beats_magnitude_on_correlated_inputs() -> None:
    x = correlated(64, seed=0).reshape(-1, 64)
    weight = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    moment = x.T @ x / len(x)
    kept = removal_order(weight, moment)[32:].sort().values
    large = weight.norm(dim=0).argsort()[32:].sort().values
    surgeon = _error(weight, reconstruct(weight, moment, kept), kept, x)
    magnitude_solved = _error(weight, reconstruct(weight, moment, large), large, x)
    magnitude = _error(weight, weight[:, large], large, x)
    assert surgeon < magnitude_solved < magnitude
    assert surgeon < 0.2 * magnitude


def test_pooled_removal_is_nearly_as_good_as_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = correlated(96, seed=0).reshape(-1, 96)
    weight = torch.randn(32, 96, generator=torch.Generator().manual_seed(1))
    moment = x.T @ x / len(x)
    errors = []
    for rounds in (96, 24):
        monkeypatch.setattr("autocompress_pruning.surgeon.ROUNDS", rounds)
        kept = removal_order(weight, moment)[48:].sort().values
        errors.append(_error(weight, reconstruct(weight, moment, kept), kept, x))
    assert errors[1] <= 1.1 * errors[0]


def test_orders_name_every_unit_once() -> None:
    x = correlated(64, seed=0).reshape(-1, 64)
    weight, moment = torch.randn(8, 64, generator=torch.Generator().manual_seed(1)), x.T @ x / len(x)
    assert sorted(removal_order(weight, moment).tolist()) == list(range(64))
    assert sorted(block_order(weight, moment, 4).tolist()) == list(range(4))


def test_block_order_removes_the_block_that_others_replace() -> None:
    x = correlated(64, seed=0).reshape(-1, 64)
    x[:, 32:48] = x[:, :16]  # the third block says nothing that the first does not
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    assert int(block_order(weight, x.T @ x / len(x), 4)[0]) in (0, 2)


def test_singular_statistics_still_give_finite_weights() -> None:
    case = _case("ffn")
    down = case.calibration["down"]
    flat = Statistics(torch.zeros_like(down.covariance), torch.zeros_like(down.mean), 1)
    answer = FfnNeurons().compress(case.group, {"keep": 0.5}, {"down": flat})
    assert torch.isfinite(case.run(answer)).all()


@pytest.mark.parametrize("name", FFN)
def test_cut_neurons_equal_masked_neurons(name: str) -> None:
    case, masked = _case(name), _case(name)
    width = case.group.layer.sizes["width"]
    kept = torch.arange(width)[torch.rand(width, generator=torch.Generator().manual_seed(0)) > 0.4]
    lost = torch.tensor([i for i in range(width) if i not in set(kept.tolist())])
    masked.group.modules["down"].get_parameter("weight").data[:, lost] = 0
    torch.testing.assert_close(case.run(prune_neurons(case.group, kept)), masked.dense(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ATTENTION)
def test_cut_heads_equal_masked_heads(name: str) -> None:
    case, masked = _case(name), _case(name)
    sizes = case.group.layer.sizes
    span = sizes["heads"] // sizes["kv_heads"] * HEAD_DIM
    kept = torch.arange(1, sizes["kv_heads"])
    masked.group.modules["out"].get_parameter("weight").data[:, :span] = 0
    answer = prune_heads(case.group, kept)
    assert answer.kept["out"].tolist() == list(range(span, sizes["heads"] * HEAD_DIM))
    torch.testing.assert_close(case.run(answer), masked.dense(), rtol=1e-5, atol=1e-6)


def test_grouped_query_keeps_the_ratio_of_heads() -> None:
    case = _case("attention-grouped-query")
    answer = AttentionHeads().compress(case.group, {"keep": 0.5}, case.calibration)
    assert dict(answer.sizes) == {"heads": 2, "kv_heads": 1, "head_dim": 16, "inner": 32, "kv_inner": 16}
    shapes = {role: tuple(module.get_parameter("weight").shape) for role, module in answer.modules.items()}
    assert shapes == {"q": (32, 64), "k": (16, 64), "v": (16, 64), "out": (64, 32)}


def test_a_fused_projection_stays_one_module() -> None:
    case = _case("fused-attention")
    answer = AttentionHeads().compress(case.group, {"keep": 0.5}, case.calibration)
    assert answer.modules["q"] is answer.modules["k"] is answer.modules["v"]
    assert tuple(answer.modules["q"].get_parameter("weight").shape) == (96, 64)


@pytest.mark.parametrize("name", FFN)
def test_reconstruction_lowers_the_output_error(name: str) -> None:
    case = _case(name)
    solved = FfnNeurons().compress(case.group, {"keep": 0.5}, case.calibration)
    cut = prune_neurons(case.group, solved.kept["down"])

    def error(answer: Replacement) -> float:
        return float((case.run(answer) - case.dense()).square().mean())

    assert error(solved) < 0.7 * error(cut)


def test_the_bias_carries_the_lost_mean() -> None:
    case = _case("ffn")
    solved = FfnNeurons().compress(case.group, {"keep": 0.25}, case.calibration)
    difference = (case.run(solved) - case.dense()).mean((0, 1))
    assert float(difference.abs().max()) < 1e-5


def test_ratios_are_nested() -> None:
    case, technique = _case("ffn"), FfnNeurons()
    kept = [
        set(technique.compress(case.group, {"keep": keep}, case.calibration).kept["down"].tolist())
        for keep in (0.75, 0.5, 0.25)
    ]
    assert kept[2] < kept[1] < kept[0]


def test_one_order_serves_every_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    case, technique, calls = _case("ffn"), FfnNeurons(), []

    def counted(weight: Tensor, moment: Tensor) -> Tensor:
        calls.append(weight.shape)
        return removal_order(weight, moment)

    monkeypatch.setattr("autocompress_pruning.surgeon.removal_order", counted)
    for keep in (0.75, 0.5):
        technique.compress(case.group, {"keep": keep}, case.calibration)
    assert len(calls) == 1
    down = case.calibration["down"]
    other = {"down": Statistics(down.covariance.flip(0, 1), down.mean.flip(0), down.count)}
    technique.compress(case.group, {"keep": 0.5}, other)
    assert len(calls) == 2


def test_counts_are_rounded_and_distinct() -> None:
    assert [kept_width(keep, 1536) for keep in (0.75, 0.3, 1.0)] == [1152, 464, 1536]
    assert kept_width(0.01, 128) == 8
    assert kept_width(0.5, 11) == 6
    assert kept_heads(0.01, 12) == 1
    two, four = fractions_for(2, kept_heads), fractions_for(4, kept_heads)
    assert two is not None
    assert four is not None
    assert two.options == (0.5,)
    assert four.options == (0.75, 0.5, 0.25)
    assert fractions_for(1, kept_heads) is None


def test_missing_statistics_fail_this_point_only() -> None:
    case = _case("ffn")
    with pytest.raises(TrialError, match="needs calibration statistics of the role 'down'"):
        FfnNeurons().compress(case.group, {"keep": 0.5}, {})
    short = {"down": Statistics(torch.eye(3), torch.zeros(3), 1)}
    with pytest.raises(TrialError, match="have 3 features"):
        FfnNeurons().compress(case.group, {"keep": 0.5}, short)
    down = case.calibration["down"]
    broken = {"down": Statistics(down.covariance * torch.nan, down.mean, down.count)}
    with pytest.raises(TrialError, match="NaN or infinity"):
        FfnNeurons().compress(case.group, {"keep": 0.5}, broken)
