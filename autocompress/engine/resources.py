"""Whole-model figures from table sums, refitted to measured policies.

``value = intercept + slope * sum(corrected costs) + switch * format changes``. A table of single layers is right about
an option to a factor that the whole model decides: what a technique saves alone, it saves more or less of among the
others. So each technique's savings get a factor of their own, and all of it is pulled towards the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autocompress.engine.problem import Resource
from autocompress.engine.tables import Floats, Ints, Tables

_SLOPE, _FACTOR, _SWITCH = 0.1, 0.25, 0.3
"""Prior sd of the slope and of a technique's factor, relative, and of a switch as a share of what one thing costs."""
_LEAST_RESIDUAL = 1e-4
_BELIEF = 3.0
"""How many trials the residual that was claimed at first is worth."""


@dataclass(frozen=True)
class Fitted:
    """A resource's line as fitted, and its table.

    costs        (L, O), corrected, infinite where padded.
    covariance   (P, P) of what was fitted: intercept, slope, switch and one factor per technique, in their units.
    """

    line: Resource
    costs: Floats
    covariance: Floats


def unfitted(tables: Tables, prior: Resource) -> Fitted:
    """The table as it is."""
    size = 3 + tables.uses.shape[2]
    return Fitted(prior, tables.costs[tables.resources.index(prior.name)], np.zeros((size, size)))


def predict(fitted: Fitted, tables: Tables, policies: Ints) -> Floats:
    """Figures of the whole model for ``policies`` (C, L): (C,)."""
    line = fitted.line
    sums = tables.pick(fitted.costs, policies).sum(axis=1)
    return np.asarray(line.intercept + line.slope * sums + line.switch * tables.switches(policies))


def spread(fitted: Fitted, tables: Tables, prior: Resource, policies: Ints) -> Floats:
    """Standard deviation of what `predict` says, measurement included: (C,). Policies unlike all others have more."""
    design = _design(tables, unfitted(tables, prior).costs, prior, policies)
    unknown = np.einsum("cp,pq,cq->c", design, fitted.covariance, design)
    values = predict(fitted, tables, policies)
    return np.asarray(np.sqrt((fitted.line.residual * values) ** 2 + np.maximum(unknown, 0.0)))


def refit(tables: Tables, prior: Resource, policies: Ints, values: Floats) -> Fitted:
    """The prior line and table, updated by measured `values` (N,) of `policies` (N, L); the residual as relative sd.

    An exact resource (bytes) keeps both: its residuals are zero and nothing moves.
    """
    first = unfitted(tables, prior)
    if len(values) < 4:
        return first
    level = float(np.median(np.abs(values))) or 1.0
    misses = values - predict(first, tables, policies)
    design = _design(tables, first.costs, prior, policies)
    # Prior sds: 10 % of the slope's share and of the level; one switch is worth a fraction of what it stands between.
    switch = _SWITCH * level / max(tables.n_units, int(tables.changes.max(axis=1).sum()))
    widths = np.array([0.1 * level, _SLOPE * (abs(prior.slope) or 1.0), switch, *[_FACTOR] * tables.uses.shape[2]])
    scaled = design * widths
    noise = max(prior.residual, float(np.sqrt(np.mean(misses**2))) / level, _LEAST_RESIDUAL) * level
    fitted, system = np.zeros(design.shape[1]), np.zeros((design.shape[1], design.shape[1]))
    for _ in range(3):
        information = scaled.T @ scaled / noise**2
        system = np.linalg.inv(information + np.eye(len(fitted)))
        fitted = widths * (system @ (scaled.T @ misses)) / noise**2
        left = misses - design @ fitted
        free = max(1.0, len(values) - float(np.trace(system @ information)))
        claimed = _BELIEF * (prior.residual * level) ** 2
        noise = max(float(np.sqrt((left @ left + claimed) / (free + _BELIEF))), _LEAST_RESIDUAL * level)
    slope = max(prior.slope + float(fitted[1]), 0.1 * prior.slope)
    corrected = first.costs + _changes(tables, first.costs) @ (fitted[3:] * prior.slope / (slope or 1.0))
    # What takes something takes no less than nothing; savings alone, and rests of several timings, have no such floor.
    known = np.where(tables.valid, first.costs, np.inf)
    least = np.where(known.min(axis=1, keepdims=True) < 0, -np.inf, 0.0)
    line = replace(
        prior,
        intercept=prior.intercept + float(fitted[0]),
        slope=slope,
        switch=max(0.0, prior.switch + float(fitted[2])),
        residual=noise / level,
    )
    return Fitted(line, np.where(tables.valid, np.maximum(corrected, least), np.inf), np.outer(widths, widths) * system)


def _design(tables: Tables, costs: Floats, prior: Resource, policies: Ints) -> Floats:
    """One, the sum, the switches, and what each technique changes, for ``policies`` (C, L): (C, P)."""
    sums = tables.pick(costs, policies).sum(axis=1)
    rows = np.arange(tables.n_units)
    change = costs[rows, policies] - costs[:, 0]
    factors = np.einsum("cl,clk->ck", change, tables.uses[rows, policies]) * prior.slope
    return np.column_stack([np.ones_like(sums), sums, tables.switches(policies), factors])


def _changes(tables: Tables, costs: Floats) -> Floats:
    """What every option changes against the dense one, split evenly over its techniques: (L, O, K)."""
    change = np.where(tables.valid, costs, 0.0) - np.where(tables.valid, costs[:, :1], 0.0)
    return np.asarray(change[:, :, None] * tables.uses)
