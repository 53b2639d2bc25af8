"""Hypervolume and Pareto filter against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.engine.hypervolume import Improvement, hypervolume
from autocompress.engine.pareto import non_dominated


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_hypervolume_agrees_with_monte_carlo(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    points = rng.random((12, dimensions))
    samples = rng.random((200_000, dimensions))
    covered = np.zeros(len(samples), dtype=bool)
    for point in points:
        covered |= np.all(samples >= point, axis=1)
    assert hypervolume(points, np.ones(dimensions)) == pytest.approx(covered.mean(), abs=0.006)


def test_points_beyond_the_reference_count_for_nothing() -> None:
    assert hypervolume(np.array([[2.0, -5.0], [0.5, 0.5]]), np.ones(2)) == pytest.approx(0.25)
    assert hypervolume(np.zeros((0, 3)), np.ones(3)) == 0.0


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_non_dominated_agrees_with_the_definition(dimensions: int) -> None:
    rng = np.random.default_rng(7)
    points = rng.integers(0, 6, size=(60, dimensions)).astype(float)
    mask = non_dominated(points)
    for i, point in enumerate(points):
        dominated = any(np.all(other <= point) and np.any(other < point) for other in points)
        earlier = any(np.array_equal(points[j], point) and mask[j] for j in range(len(points)) if j != i)
        assert mask[i] == (not dominated and not (earlier and not mask[i]))


def test_improvement_is_the_difference_of_hypervolumes() -> None:
    rng = np.random.default_rng(0)
    front, candidates = rng.random((8, 2)), rng.random((20, 2)) * 1.2
    before = hypervolume(front, np.ones(2))
    expected = [hypervolume(np.vstack([front, c]), np.ones(2)) - before for c in candidates]
    assert Improvement(front, np.ones(2), np.zeros(2)).gain(candidates) == pytest.approx(expected)


def test_sampled_improvement_is_close_in_three_dimensions() -> None:
    rng = np.random.default_rng(1)
    front, candidates = rng.random((8, 3)), rng.random((5, 3)) * 0.6
    before = hypervolume(front, np.ones(3))
    expected = [hypervolume(np.vstack([front, c]), np.ones(3)) - before for c in candidates]
    assert Improvement(front, np.ones(3), np.zeros(3)).gain(candidates) == pytest.approx(expected, abs=0.02)
