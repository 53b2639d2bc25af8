"""Whole-model figures from table sums: value = intercept + slope * sum + switch * format changes, refitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autocompress.engine.problem import Resource
from autocompress.engine.tables import Floats

_PRIOR_SLOPE = 0.1
_LEAST_RESIDUAL = 1e-4


def predict(resource: Resource, sums: Floats, switches: Floats) -> Floats:
    """Figures of the whole model for table sums (C,) and numbers of format changes (C,)."""
    return np.asarray(resource.intercept + resource.slope * sums + resource.switch * switches)


def refit(prior: Resource, sums: Floats, switches: Floats, values: Floats, n_units: int) -> Resource:
    """`prior` updated by measured `values` (N,): ridge towards the prior line, residual as relative sd.

    An exact resource (bytes) keeps its line: its residuals are zero and nothing moves.
    """
    if len(values) < 4:
        return prior
    level = float(np.median(np.abs(values))) or 1.0
    misses = values - predict(prior, sums, switches)
    noise = max(prior.residual, float(np.sqrt(np.mean(misses**2))) / level, _LEAST_RESIDUAL) * level
    # Prior sds: 10 % of the slope's share and of the level; one switch is worth at most about one unit's share.
    design = np.stack([np.ones_like(sums), sums, switches], axis=1)
    widths = np.array([0.1 * level, _PRIOR_SLOPE * (abs(prior.slope) or 1.0), level / n_units])
    fitted = np.zeros(3)
    for _ in range(2):
        scaled = design * widths
        system = scaled.T @ scaled / noise**2 + np.eye(3)
        fitted = widths * np.linalg.solve(system, scaled.T @ misses / noise**2)
        left = misses - design @ fitted
        noise = max(float(np.sqrt(np.sum(left**2) / max(1.0, len(values) - 2.0))), _LEAST_RESIDUAL * level)
    return replace(
        prior,
        intercept=prior.intercept + float(fitted[0]),
        slope=max(prior.slope + float(fitted[1]), 0.1 * prior.slope),
        switch=prior.switch + float(fitted[2]),
        residual=noise / level,
    )
