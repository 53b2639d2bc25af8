"""The allocator against exhaustive search on problems small enough for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autocompress.engine.allocator import allocate


def tiny(seed: int, resources: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    damage = np.sort(rng.random((6, 5)) * np.exp(rng.normal(size=(6, 1))), axis=1)
    costs = -np.sort(-rng.random((resources, 6, 5)), axis=2) + 0.05 * rng.random((resources, 6, 5))
    return damage, costs


@pytest.mark.parametrize("resources", [1, 2, 3])
def test_close_to_the_optimum_under_every_cap(resources: int) -> None:
    gaps = []
    rows = np.arange(6)
    policies = np.array(list(itertools.product(range(5), repeat=6)))
    for seed in range(12):
        damage, costs = tiny(seed, resources)
        caps = costs[:, :, 0].sum(axis=1) * np.random.default_rng(seed).uniform(0.45, 0.8, size=resources)
        chosen = allocate(damage, costs, caps)
        fits = np.all(costs[:, rows, policies].sum(axis=2) <= caps[:, None], axis=0)
        if chosen is None:
            assert not fits.any() or resources > 1
            continue
        assert np.all(costs[:, rows, chosen].sum(axis=1) <= caps * (1 + 1e-9))
        best = damage[rows, policies].sum(axis=1)[fits].min()
        gaps.append(damage[rows, chosen].sum() / best - 1.0)
    assert len(gaps) >= 8
    # Six units leave a duality gap; the median shows that the multipliers are right.
    assert np.median(gaps) <= 0.05
    assert max(gaps) <= 0.6


def test_loose_caps_leave_everything_dense() -> None:
    damage, costs = tiny(0, 2)
    assert allocate(damage, costs, np.array([1e9, 1e9])).tolist() == [0] * 6


def test_impossible_caps_give_none() -> None:
    damage, costs = tiny(0, 2)
    assert allocate(damage, costs, np.array([0.01, 10.0])) is None


def test_padded_options_are_never_chosen() -> None:
    damage, costs = tiny(3, 1)
    damage[:, 4], costs[:, :, 4] = np.inf, np.inf
    chosen = allocate(damage, costs, costs[:, :, :4].min(axis=2).sum(axis=1) * 1.01)
    assert chosen is not None
    assert chosen.max() < 4


class Counted(np.ndarray):
    """A table that counts how often all of it, or what was computed from all of it, is searched."""

    passes = 0

    def argmin(self, *args: object, **options: object) -> object:
        Counted.passes += 1
        return np.asarray(self).argmin(*args, **options)


@pytest.mark.parametrize("units", [20, 200, 2000])
def test_passes_over_the_table_do_not_grow_with_the_units(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    damage = np.sort(rng.random((units, 20)), axis=1)
    costs = -np.sort(-rng.random((2, units, 20)), axis=2)
    monkeypatch.setattr(Counted, "passes", 0)
    chosen = allocate(damage.view(Counted), costs, costs[:, :, 0].sum(axis=1) * 0.5)
    assert chosen is not None
    assert 0 < Counted.passes < 260
