"""Low rank: whitened against plain, exact at full rank, ranks that pay."""

from __future__ import annotations

import pytest
import torch
from autocompress_lowrank.ranks import offered_ranks, paying_rank
from autocompress_lowrank.svd import Svd
from autocompress_lowrank.whitening import factors
from torch import Tensor, nn

from autocompress.contracts.linears import make_linear
from autocompress.contracts.technique import Replacement
from autocompress.errors import TrialError
from autocompress.testing.groups import Case, all_cases, correlated, narrowed


def _case(name: str = "linear") -> Case:
    return next(case for case in all_cases() if case.name == name)


def _plain(weight: Tensor, bias: Tensor | None, rank: int) -> Replacement:
    left, singular, right = torch.linalg.svd(weight, full_matrices=False)
    return Replacement({"linear": make_linear((left[:, :rank] * singular[:rank]) @ right[:rank], bias)})


@pytest.mark.parametrize("name", ["linear", "linear-wide-input"])
def test_whitened_beats_plain(name: str) -> None:
    case = _case(name)
    linear = case.group.modules["linear"]
    assert isinstance(linear, nn.Linear)

    def error(answer: Replacement) -> float:
        return float((case.run(answer) - case.dense()).square().mean())

    whitened = Svd().compress(case.group, {"rank": 16}, case.calibration)
    assert error(whitened) < 0.5 * error(_plain(linear.weight, linear.bias, 16))


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32)])
def test_factors_are_the_best_of_their_rank(shape: tuple[int, int]) -> None:
    """Both ways of finding them agree with the singular values of the whitened matrix."""
    x = correlated(shape[1], seed=0).reshape(-1, shape[1]).double()
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    moment = x.T @ x / len(x)
    second, first = factors(weight, moment, 8)
    difference = weight - second @ first
    lost = float((difference @ moment @ difference.T).trace())
    singular = torch.linalg.svdvals(weight @ torch.linalg.cholesky(moment))
    assert lost == pytest.approx(float(singular[8:].square().sum()), rel=1e-2)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_full_rank_is_exact_and_lower_ranks_are_slices(shape: tuple[int, int]) -> None:
    x = correlated(shape[1], seed=0).reshape(-1, shape[1])
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    second, first = factors(weight, x.T @ x / len(x), 24)
    torch.testing.assert_close(second @ first, weight.double(), rtol=1e-6, atol=1e-8)
    smaller_second, smaller_first = factors(weight, x.T @ x / len(x), 8)
    torch.testing.assert_close(smaller_second, second[:, :8])
    torch.testing.assert_close(smaller_first, first[:8])


def test_signs_are_fixed() -> None:
    x = correlated(40, seed=0).reshape(-1, 40)
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(1))
    _, first = factors(weight, x.T @ x / len(x), 8)
    assert bool((first.gather(1, first.abs().argmax(1, keepdim=True)) > 0).all())


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_a_rank_above_the_weights_own_is_finite(shape: tuple[int, int]) -> None:
    weight = torch.ones(shape)
    second, first = factors(weight, torch.zeros(shape[1], shape[1]), 8)
    assert bool(torch.isfinite(second).all())
    assert bool(torch.isfinite(first).all())
    torch.testing.assert_close(second @ first, weight.double(), rtol=1e-5, atol=1e-5)


def test_the_bias_carries_the_lost_mean() -> None:
    case = _case()
    answer = Svd().compress(case.group, {"rank": 8}, case.calibration)
    assert float((case.run(answer) - case.dense()).mean((0, 1)).abs().max()) < 1e-5


@pytest.mark.parametrize("shape", [(384, 384), (1536, 384), (64, 64), (768, 3072), (48, 20)])
def test_offered_ranks_save_weights(shape: tuple[int, int]) -> None:
    offered = offered_ranks(*shape)
    assert offered is not None
    assert all(isinstance(rank, int) and rank * sum(shape) < shape[0] * shape[1] for rank in offered.options)


def test_ranks_of_the_demo_model() -> None:
    offered = offered_ranks(384, 384)
    assert offered is not None
    assert offered.options == (160, 128, 112, 80, 48)
    assert offered_ranks(2, 2) is None


def test_a_narrowed_layer_gets_a_rank_that_pays() -> None:
    smaller = narrowed(_case(), 24)
    answer = Svd().compress(smaller.group, {"rank": 32}, smaller.calibration)
    pair = answer.modules["linear"]
    assert sum(p.numel() for p in pair.parameters()) - 128 < 24 * 128
    assert paying_rank(32, 128, 24) == 20


def test_missing_statistics_fail_this_point_only() -> None:
    case = _case()
    with pytest.raises(TrialError, match="svd needs calibration statistics of 'linear'"):
        Svd().compress(case.group, {"rank": 8}, {})
