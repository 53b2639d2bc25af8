"""Which points are best when several figures are minimised at once."""

from __future__ import annotations

import numpy as np

from autocompress.engine.tables import Bools, Floats


def non_dominated(points: Floats) -> Bools:
    """Mask (N,) of the rows of `points` (N, D) that no other row dominates; of equal rows the first is kept."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 2:
        second = points[order, 1]
        best_before = np.concatenate(([np.inf], np.minimum.accumulate(second)[:-1]))
        plane = np.zeros(len(points), dtype=bool)
        plane[order[second < best_before]] = True
        return plane
    kept: list[int] = []
    mask = np.zeros(len(points), dtype=bool)
    front = np.empty_like(points)
    for index in order:
        # Lexicographic order: a later row can never dominate an earlier one.
        if kept and bool(np.any(np.all(front[: len(kept)] <= points[index], axis=1))):
            continue
        front[len(kept)] = points[index]
        kept.append(int(index))
        mask[index] = True
    return mask
