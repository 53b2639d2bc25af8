"""Options to a policy under several budgets: the least total damage whose total costs stay within every cap.

Coordinate ascent on the Lagrangian dual (one bisection per multiplier and pass), then repair and greedy fill of what
the duality gap leaves over; the idea of HAWQ-V3's integer program (arXiv:2011.10680) without a solver.
"""

from __future__ import annotations

import numpy as np

from autocompress.engine.tables import Floats, Ints

_PASSES = 6
_BISECTIONS = 18
_FILLS = 4000
_NEAR = 0.25


def allocate(damage: Floats, costs: Floats, caps: Floats) -> Ints | None:
    """Option index per unit (L,), or None if no choice of options fits.

    damage (L, O), costs (R, L, O), caps (R,); padded entries are infinite in `damage`.
    """
    return solve(damage, costs, caps)[0]


def solve(
    damage: Floats, costs: Floats, caps: Floats, start: Floats | None = None
) -> tuple[Ints | None, Floats | None]:
    """`allocate`, and the log multipliers (R,) it ended with, in damage per cost: the `start` of a similar solve."""
    n_resources, n_units, n_options = costs.shape
    cells = np.arange(n_units) * n_options
    flat = np.where(np.isfinite(costs), costs, 0.0).reshape(n_resources, -1)
    if n_resources == 0:
        return np.asarray(damage.argmin(axis=1), dtype=np.int64), None
    # Multipliers in units of "all damage per all of this cap" keep the brackets the same for every problem.
    finite = np.isfinite(damage)
    scale = float(np.abs(np.where(finite, damage, 0.0)).max(axis=1).sum()) or 1.0
    units = np.maximum(np.abs(caps), 1e-12 * np.abs(flat).max(axis=1) + 1e-300)
    weights = flat / units[:, None] * scale
    targets = caps / units * scale
    unit_logs = np.log(scale) - np.log(units)
    logs = np.full(n_resources, -np.inf) if start is None else start - unit_logs
    chosen = _relaxed(damage, weights, logs)
    best: Ints | None = None
    for _ in range(_PASSES):
        used = weights[:, cells + chosen].sum(axis=1)
        if np.all(used <= targets):
            best = chosen
        moved = False
        for r in range(n_resources):
            before = logs[r]
            logs[r], chosen = _bisect(damage, weights, logs, r, targets[r], cells)
            moved |= not (before == logs[r] or abs(before - logs[r]) < 5e-3)
        if not moved:
            break
    used = weights[:, cells + chosen].sum(axis=1)
    if np.any(used > targets):
        repaired = _repair(damage, weights, targets, chosen, cells)
        chosen = repaired if repaired is not None else chosen
        if repaired is None:
            if best is None:
                return None, None
            chosen = best
    return _fill(damage, weights, targets, chosen, cells), logs + unit_logs


def _relaxed(damage: Floats, weights: Floats, logs: Floats) -> Ints:
    penalised = damage
    active = np.exp(logs)
    if np.any(active > 0):
        penalised = damage + (active @ weights).reshape(damage.shape)
    return np.asarray(penalised.argmin(axis=1), dtype=np.int64)


def _bisect(damage: Floats, weights: Floats, logs: Floats, r: int, target: float, cells: Ints) -> tuple[float, Ints]:
    """Smallest multiplier of resource `r` that meets its target, the others held: its log and the choice."""
    others = np.exp(logs)
    others[r] = 0.0
    base = damage + (others @ weights).reshape(damage.shape) if np.any(others > 0) else damage
    weight = weights[r].reshape(damage.shape)
    chosen = np.asarray(base.argmin(axis=1), dtype=np.int64)
    if weights[r, cells + chosen].sum() <= target:
        return -np.inf, chosen
    # The table may span many decades; a multiplier of e^12 leaves nothing but cost.
    low, high = -23.0, 12.0
    result = np.asarray((base + np.exp(high) * weight).argmin(axis=1), dtype=np.int64)
    if np.isfinite(logs[r]):
        near = (logs[r] - _NEAR, logs[r] + _NEAR)
        inner = np.asarray((base + np.exp(near[1]) * weight).argmin(axis=1), dtype=np.int64)
        if weights[r, cells + inner].sum() <= target:
            high, result = near[1], inner
            outer = (base + np.exp(near[0]) * weight).argmin(axis=1)
            low = near[0] if weights[r, cells + outer].sum() > target else low
        else:
            low = near[1]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        trial = np.asarray((base + np.exp(middle) * weight).argmin(axis=1), dtype=np.int64)
        if weights[r, cells + trial].sum() <= target:
            high, result = middle, trial
        else:
            low = middle
        if high - low < 2e-3:
            break
    return high, result


def _repair(damage: Floats, weights: Floats, targets: Floats, chosen: Ints, cells: Ints) -> Ints | None:
    """Cheapest moves in damage per violation removed until every target holds; None if that is impossible."""
    chosen = chosen.copy()
    rows = np.arange(len(chosen))
    table = weights.reshape(len(weights), *damage.shape)
    used = weights[:, cells + chosen].sum(axis=1)
    for _ in range(4 * len(chosen)):
        over = np.maximum(0.0, used - targets)
        if not np.any(over > 0):
            return chosen
        now = used[:, None, None] - weights[:, cells + chosen][:, :, None] + table
        left = np.maximum(0.0, now - targets[:, None, None]).sum(axis=0)
        removed = over.sum() - left
        harm = damage - damage[rows, chosen][:, None]
        rate = np.where((removed > 1e-12) & np.isfinite(harm), removed / np.maximum(harm, 1e-12), -np.inf)
        index = int(rate.argmax())
        i, j = divmod(index, damage.shape[1])
        if rate[i, j] == -np.inf:
            return None
        used = now[:, i, j]
        chosen[i] = j
    return None


def _fill(damage: Floats, weights: Floats, targets: Floats, chosen: Ints, cells: Ints) -> Ints:
    """Spend the slack on the moves that remove the most damage per share of slack used."""
    chosen = chosen.copy()
    rows = np.arange(len(chosen))
    table = weights.reshape(len(weights), *damage.shape)
    slack = targets - weights[:, cells + chosen].sum(axis=1)
    relief = damage[rows, chosen][:, None] - damage
    extra = table - weights[:, cells + chosen][:, :, None]
    # One fill is worth about one unit's step: the more units, the less it matters and the more it costs.
    for _ in range(max(8, _FILLS // max(1, len(chosen)))):
        share = (extra / np.maximum(slack, 1e-12)[:, None, None]).max(axis=0)
        rate = np.where((relief > 0) & (share <= 1.0), relief / np.maximum(share, 1e-3), 0.0)
        index = int(rate.argmax())
        i, j = divmod(index, damage.shape[1])
        if rate[i, j] <= 0:
            break
        slack = slack - extra[:, i, j]
        chosen[i] = j
        relief[i] = damage[i, j] - damage[i]
        extra[:, i] = table[:, i] - table[:, i, j][:, None]
    return chosen
