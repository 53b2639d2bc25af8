"""Quality from scored rows: a bootstrap interval, plain or against the dense model on the same rows; no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocompress.core.measurement import Measurement
from autocompress.errors import UsageError


def bootstrap(
    rows: Sequence[float],
    dense: Sequence[float] | None = None,
    *,
    level: float = 0.975,
    resamples: int = 2000,
    seed: int = 0,
) -> Measurement:
    """The mean quality of rows like these, with bounds of ``level`` each.

    dense   the dense model's quality of the same rows: then the figure is the quotient of the two means, resampled
            in pairs, as a relative quality floor needs it.
    Raises UsageError without rows, or when the two do not pair up.
    """
    if not rows or (dense is not None and len(dense) != len(rows)):
        raise UsageError(f"cannot resample {len(rows)} rows against {len(dense or ())}: expected as many, at least 1.")
    ours = np.asarray(rows, dtype=np.float64)
    theirs = np.ones_like(ours) if dense is None else np.asarray(dense, dtype=np.float64)
    generator = np.random.default_rng(seed)
    picked = generator.integers(0, len(ours), size=(resamples, len(ours)))
    means = ours[picked].mean(axis=1) / theirs[picked].mean(axis=1)
    low, high = np.quantile(means, [1 - level, level])
    center = float(ours.mean() / theirs.mean())
    return Measurement((tuple(map(float, ours)),), center, min(float(low), center), max(float(high), center))
