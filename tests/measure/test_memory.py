"""Resident growth sees what was touched and forgotten; exact where the system lets it, sampled elsewhere."""

from __future__ import annotations

import time

import pytest
import torch

from autocompress.measure import memory

SIZE = 64_000_000


@pytest.mark.parametrize("sampled", [False, True])
def test_a_peak_that_is_gone_again_is_seen(sampled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if sampled:
        monkeypatch.setattr(memory, "_reset_high_water", lambda: False)
    with memory.resident_peak() as found:
        block = bytearray(b"x") * SIZE
        while sampled and found.peak < found.before + 0.8 * SIZE:  # the sampler has its own pace, on a busy machine too
            time.sleep(0.002)
        del block
    assert 0.8 * SIZE < found.growth < 1.6 * SIZE


def test_an_earlier_peak_does_not_count() -> None:
    block = bytearray(b"x") * SIZE
    del block
    with memory.resident_peak() as found:
        pass
    assert found.growth < SIZE / 8


def test_the_peak_is_kept_when_the_block_fails() -> None:
    with pytest.raises(KeyError), memory.resident_peak() as found:
        raise KeyError
    assert found.peak > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_tells_allocated_and_reserved() -> None:
    _, allocated, reserved = memory.cuda_peak(lambda: torch.empty(SIZE, dtype=torch.uint8, device="cuda").sum())
    assert SIZE <= allocated <= reserved
