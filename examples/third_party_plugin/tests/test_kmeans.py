"""Codebooks are good, indices are small, and the module is what its codebook says."""

from __future__ import annotations

import pytest
import torch
from autocompress_kmeans.codebook import codebook
from autocompress_kmeans.packing import pack, packed_bytes, unpack
from autocompress_kmeans.technique import KmeansSharing

from autocompress.plugin import TrialError
from autocompress.testing.groups import all_cases


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 64, 1001])
def test_packing_is_exact_and_small(bits: int, count: int) -> None:
    indices = torch.randint(2**bits, (count,), generator=torch.Generator().manual_seed(count))
    packed = pack(indices, bits)
    assert packed.dtype == torch.uint8
    assert len(packed) == packed_bytes(count, bits) == -(-count * bits // 8)
    assert torch.equal(unpack(packed, bits, count).long(), indices)


@pytest.mark.parametrize("bits", [2, 4])
def test_codebook_beats_even_steps(bits: int) -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) ** 3
    values, indices = codebook(weight, torch.ones(64), bits)
    low, high = float(weight.min()), float(weight.max())
    step = (high - low) / (2**bits - 1)
    even = ((weight - low) / step).round() * step + low
    assert float((values[indices] - weight).square().sum()) < 0.3 * float((even - weight).square().sum())


def test_every_weight_gets_its_nearest_value() -> None:
    weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    values, indices = codebook(weight, torch.ones(16), 3)
    nearest = (weight[..., None] - values).abs().min(-1).values
    torch.testing.assert_close((weight - values[indices]).abs(), nearest, rtol=0, atol=1e-6)


def test_few_distinct_weights_are_kept_exactly() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 5.0]])
    values, indices = codebook(weight, torch.ones(2), 4)
    torch.testing.assert_close(values[indices], weight, rtol=0, atol=1e-6)


def test_importance_moves_the_values() -> None:
    """Columns that the input fills get the smaller error."""
    weight = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    weight[:, 4:] += 3
    importance = torch.tensor([100.0] * 4 + [1.0] * 4)
    errors = []
    for cost in (importance, torch.ones(8)):
        values, indices = codebook(weight, cost, 3)
        errors.append(float((values[indices] - weight)[:, :4].square().sum()))
    assert errors[0] < 0.7 * errors[1]


def test_calibration_lowers_the_output_error() -> None:
    case = next(case for case in all_cases() if case.name == "linear-wide-input")
    errors = []
    for calibration in (case.calibration, {}):
        answer = KmeansSharing().compress(case.group, {"bits": 2}, calibration)
        errors.append(float((case.run(answer) - case.dense()).square().mean()))
    assert errors[0] < errors[1]


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_the_state_takes_the_bits_that_it_says(bits: int) -> None:
    case = all_cases(("linear",))[0]
    module = KmeansSharing().compress(case.group, {"bits": bits}, {}).modules["linear"]
    stored = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    assert stored == 64 * 128 * bits // 8 + 4 * 2**bits + 4 * 128


def test_bad_bits_and_bad_weights_fail_this_point_only() -> None:
    case = all_cases(("linear",))[0]
    for bits in (0, 9, 2.5, True, "four"):
        with pytest.raises(TrialError, match="expected a whole number from 1 to 8"):
            KmeansSharing().build(case.group, {"bits": bits})
    case.group.modules["linear"].get_parameter("weight").data[0, 0] = torch.inf
    with pytest.raises(TrialError, match="NaN or infinity"):
        KmeansSharing().compress(case.group, {"bits": 4}, {})
