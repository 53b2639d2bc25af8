"""Calibration statistics against numpy in double: large means, tiny spreads, padding, blocks, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autocompress_lowrank.whitening import factors
from autocompress_pruning.surgeon import block_order, damped, removal_order
from torch import Tensor, nn

from autocompress.compress import collect_statistics, statistics
from autocompress.contracts.technique import Statistics
from autocompress.testing.groups import correlated

FEATURES = 48


class Two(nn.Module):
    """Two linears that read the same tensor, one behind them, one that never runs."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(FEATURES, 8, bias=bias), nn.Linear(FEATURES, 8, bias=bias)
        self.behind, self.never = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.a(x) + self.b(x))


def _rows(kind: str) -> Tensor:
    """(240, FEATURES) fp32 rows that subtraction of sums in fp32 cannot handle."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(240, FEATURES, generator=generator)
    if kind == "large mean":
        return 1e4 + 0.01 * noise
    if kind == "one direction":
        return noise[:, :1] * torch.linspace(1, 50, FEATURES) + 1e-5 * noise
    if kind == "massive feature":
        scale = torch.ones(FEATURES)
        scale[3] = 3e4
        return noise * scale * 1e-2 + 100 * scale
    return torch.full((240, FEATURES), 7.3)


KINDS = ["large mean", "one direction", "massive feature", "constant"]


def _collect(rows: Tensor, batches: int) -> dict[str, Statistics]:
    model = Two().eval().requires_grad_(False)
    split = [{"x": part[None]} for part in rows.chunk(batches)]
    return collect_statistics(model, ["a", "b", "behind", "never"], split)


@pytest.mark.parametrize("batches", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_statistics_equal_numpy_in_double(kind: str, batches: int) -> None:
    rows = _rows(kind)
    found, oracle = _collect(rows, batches)["a"], rows.double().numpy()
    centred = oracle - oracle.mean(0)
    expected = centred.T @ centred / len(oracle)
    assert found.count == len(oracle)
    assert found.covariance.dtype == found.mean.dtype == torch.float64
    np.testing.assert_allclose(found.mean.numpy(), oracle.mean(0), rtol=1e-12)
    largest = max(float(np.abs(expected).max()), 1e-20)
    np.testing.assert_allclose(found.covariance.numpy(), expected, atol=1e-9 * largest, rtol=0)
    second = oracle.T @ oracle / len(oracle)
    np.testing.assert_allclose(found.second.numpy(), second, atol=1e-12 * float(np.abs(second).max()), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_eigenvalue_is_negative_and_pruning_and_svd_go_through(kind: str) -> None:
    found = _collect(_rows(kind), 5)["a"]
    for moment in (found.covariance, found.second):
        eigenvalues = torch.linalg.eigvalsh(moment)
        assert float(eigenvalues.min()) >= -1e-13 * max(float(eigenvalues.max()), 1e-12)
        torch.linalg.cholesky(damped(moment))
        weight = torch.randn(16, FEATURES, generator=torch.Generator().manual_seed(1))
        assert sorted(removal_order(weight, moment).tolist()) == list(range(FEATURES))
        assert sorted(block_order(weight, moment, 6).tolist()) == list(range(6))
        for one in (weight, weight.repeat(4, 1)):
            assert all(bool(torch.isfinite(factor).all()) for factor in factors(one, moment, 4))


def test_a_batch_is_taken_in_blocks_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("large mean")
    whole = _collect(rows, 2)["a"]
    largest, double = [], Tensor.double
    monkeypatch.setattr(statistics, "BLOCK", 10 * FEATURES)
    monkeypatch.setattr(Tensor, "double", lambda self: (largest.append(self.numel()), double(self))[1])
    parts = _collect(rows, 2)["a"]
    assert 0 < max(largest) <= 10 * FEATURES
    torch.testing.assert_close(parts.covariance, whole.covariance, rtol=0, atol=1e-13)  # variances are near 1e-4


def test_linears_that_never_ran_or_saw_only_padding_have_none() -> None:
    assert set(_collect(_rows("constant"), 2)) == {"a", "b", "behind"}
    x = torch.ones(2, 3, FEATURES)

    class Masked(Two):
        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002
            return super().forward(x)

    masks = [torch.zeros(2, 3), torch.zeros(2, 3)]
    assert not collect_statistics(Masked().eval(), ["a"], [{"x": x, "attention_mask": mask} for mask in masks])
    masks[1][0, 1] = 1
    found = collect_statistics(Masked().eval(), ["a"], [{"x": x, "attention_mask": mask} for mask in masks])["a"]
    assert found.count == 1
    assert not found.covariance.any()


def test_half_precision_inputs_are_summed_in_double() -> None:
    rows = correlated(FEATURES, seed=1).reshape(-1, FEATURES).bfloat16()
    model = Two().eval().bfloat16().requires_grad_(False)
    found = collect_statistics(model, ["a"], [{"x": part[None]} for part in rows.chunk(3)])["a"]
    np.testing.assert_allclose(found.covariance.numpy(), np.cov(rows.double().numpy().T, bias=True), atol=1e-10)


def test_what_is_pushed_through_a_linear_is_what_it_gives() -> None:
    rows = _rows("large mean")
    model = Two().eval().double().requires_grad_(False)
    given = collect_statistics(model, ["a"], [{"x": rows.double()[None]}])["a"]
    output = model.a(rows.double()).numpy()
    pushed = statistics.push(given, model.a)
    np.testing.assert_allclose(pushed.mean.numpy(), output.mean(0), rtol=1e-10)
    np.testing.assert_allclose(pushed.covariance.numpy(), np.cov(output.T, bias=True), atol=1e-12)


def test_kept_features_are_a_part_of_the_statistics() -> None:
    found, kept = _collect(_rows("one direction"), 2)["a"], torch.tensor([5, 2, 40])
    part = found.keep(kept)
    torch.testing.assert_close(part.covariance, found.covariance[kept][:, kept])
    torch.testing.assert_close(part.second, found.second[kept][:, kept])
