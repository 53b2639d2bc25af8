"""The volume that a set of points dominates, and how much a further point would add to it.

Points beyond the reference point count for nothing. All figures are minimised.
"""

from __future__ import annotations

import numpy as np

from autocompress.engine.pareto import non_dominated
from autocompress.engine.tables import Floats

_SAMPLES = 4096


def hypervolume(points: Floats, reference: Floats) -> float:
    """Volume dominated by `points` (N, D) below `reference` (D,), D = 2 to 4; exact.

    >>> hypervolume(np.array([[0.0, 0.5], [0.5, 0.0]]), np.array([1.0, 1.0]))
    0.75
    """
    points = np.asarray(points, dtype=float).reshape(-1, len(reference))
    points = points[np.all(points < reference, axis=1)]
    if len(points) == 0:
        return 0.0
    return _slice(points[non_dominated(points)], np.asarray(reference, dtype=float))


def _slice(points: Floats, reference: Floats) -> float:
    """Sum of slices along the last axis; `points` (N, D) lie below `reference` and do not dominate each other."""
    if points.shape[1] == 2:
        points = points[np.argsort(points[:, 0])]
        ceiling = np.concatenate(([reference[1]], points[:-1, 1]))
        return float(np.sum((reference[0] - points[:, 0]) * (ceiling - points[:, 1])))
    points = points[np.argsort(points[:, -1], kind="stable")]
    tops = np.append(points[1:, -1], reference[-1])
    total = 0.0
    active = points[:0, :-1]
    for point, top in zip(points, tops, strict=True):
        active = np.vstack([active, point[:-1]])
        active = active[non_dominated(active)]
        if top > point[-1]:
            total += (top - point[-1]) * _slice(active, reference[:-1])
    return total


class Improvement:
    """Volume that each of several candidates would add to a front; exact in 2-D, fixed quasi-random samples above.

    front (N, D), reference (D,). `gain(candidates (C, D))` returns (C,); `add` extends the front.
    """

    def __init__(self, front: Floats, reference: Floats, ideal: Floats) -> None:
        self.reference = np.asarray(reference, dtype=float)
        self.front = np.asarray(front, dtype=float).reshape(-1, len(self.reference))
        self._samples: Floats | None = None
        if len(self.reference) > 2:
            span = self.reference - ideal
            self._volume = float(np.prod(span))
            samples = ideal + span * halton(_SAMPLES, len(self.reference))
            for point in self.front:
                samples = samples[~np.all(samples >= point, axis=1)]
            self._samples = samples
        else:
            self._sort()

    def _sort(self) -> None:
        inside = self.front[np.all(self.front < self.reference, axis=1)]
        inside = inside[non_dominated(inside)]
        self.front = inside[np.argsort(inside[:, 0])]

    def gain(self, candidates: Floats) -> Floats:
        """Added volume of each candidate (C, D) alone: (C,)."""
        if self._samples is not None:
            inside = np.all(self._samples[None] >= candidates[:, None], axis=2)
            return np.asarray(inside.sum(axis=1) * (self._volume / _SAMPLES))
        left = np.concatenate(([-np.inf], self.front[:, 0]))
        right = np.append(self.front[:, 0], self.reference[0])
        level = np.concatenate(([self.reference[1]], self.front[:, 1]))
        width = np.maximum(0.0, right - np.maximum(left, candidates[:, :1]))
        height = np.maximum(0.0, level - candidates[:, 1:2])
        return np.asarray((width * height).sum(axis=1))

    def add(self, point: Floats) -> None:
        """Extend the front by `point` (D,)."""
        if self._samples is not None:
            self._samples = self._samples[~np.all(self._samples >= point, axis=1)]
        else:
            self.front = np.vstack([self.front, point])
            self._sort()


def halton(count: int, dimensions: int) -> Floats:
    """The first `count` points of the Halton sequence in [0, 1): (count, dimensions), dimensions <= 8."""
    columns = []
    for base in (2, 3, 5, 7, 11, 13, 17, 19)[:dimensions]:
        index = np.arange(1, count + 1)
        value, weight = np.zeros(count), 1.0 / base
        while np.any(index > 0):
            value += weight * (index % base)
            index //= base
            weight /= base
        columns.append(value)
    return np.stack(columns, axis=1)
