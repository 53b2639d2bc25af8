"""Where policies come from besides Optuna: the sweep over targets, its repetition on refitted tables, local moves."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from autocompress.engine.hypervolume import halton
from autocompress.engine.model import Model
from autocompress.engine.problem import LOSS, Assignment
from autocompress.engine.tables import Floats, Ints, as_array

_GOLDEN = 0.6180339887498949
_TRIED = 256


def lowest_fraction(model: Model) -> float:
    """Target fraction below which even the best policy is predicted to break the loss limit; 0 without such a limit."""
    limit = model.problem.limit(LOSS)
    if limit is None:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = 0.5 * (low + high)
        policy = model.solve([middle] * len(model.swept), coupled=False)
        if policy is not None and model.surrogate.predict(as_array([policy]))[0] <= limit:
            high = middle
        else:
            low = middle
    return high if high < 1.0 else 0.0


def sweep_fractions(model: Model, count: int, lowest: float) -> list[tuple[float, ...]]:
    """`count` targets over the reachable range, closer together towards the limits unless a loss limit ends it."""
    axes = len(model.swept)
    if axes == 0:
        return [()]
    if axes == 1:
        even = np.linspace(0.0, 1.0, count) if count > 1 else np.array([1.0])
        power = 1.0 if lowest > 0 else 1.5
        even = 1.0 - (1.0 - even) ** power
        return [(float(lowest + (1.0 - lowest) * u),) for u in _spread_first(even)]
    inner = lowest + (1.0 - lowest) * halton(max(1, count - 1), axes)
    return [(1.0,) * axes, *(tuple(row.tolist()) for row in inner)][:count]


def _spread_first(even: Floats) -> Floats:
    """The same targets, each as far as possible from those before it: a sweep that is cut short is still even."""
    order = [int(even.argmax())]
    distance = np.abs(even - even[order[0]])
    while len(order) < len(even):
        distance[order] = -1.0
        order.append(int(distance.argmax()))
        distance = np.minimum(distance, np.abs(even - even[order[-1]]))
    return even[order]


def next_fractions(model: Model, index: int, lowest: float) -> tuple[float, ...]:
    """The `index`-th target of a sequence that stays even however long it gets."""
    axes = len(model.swept)
    golden = np.array([(0.5 + _GOLDEN * index) % 1.0])
    unit = golden[:axes] if axes <= 1 else halton(index + 64, axes)[-1]
    return tuple(float(lowest + (1.0 - lowest) * u) for u in unit)


def local_moves(members: Sequence[Assignment], model: Model, count: int, rng: np.random.Generator) -> Ints:
    """`count` policies (C, L), each one switch or one compensated pair of switches away from a member.

    EvoPress's level-switch mutation (arXiv:2410.14649) with several resources at once.
    """
    tables = model.tables
    n_units = tables.n_units
    widths = tables.valid.sum(axis=1)
    policies = as_array(members)[rng.integers(len(members), size=count)]
    rows = np.arange(count)
    for switches in range(2):
        active = rows if switches == 0 else rows[rng.random(count) < 0.6]
        units = rng.integers(n_units, size=len(active))
        policies[active, units] = (rng.random(len(active)) * widths[units]).astype(np.int64)
    return policies


def neighbours(
    policy: Assignment, model: Model, seen: Set[Assignment], most: int, rng: np.random.Generator
) -> list[Assignment]:
    """The moves from a policy that promise the least loss, none predicted to cost more than 1 % more than it does."""
    moves = np.unique(local_moves([policy], model, _TRIED, rng), axis=0)
    own, values = model.predict(as_array([policy])), model.predict(moves)
    fits = np.ones(len(moves), dtype=bool)
    for name in model.swept:
        fits &= values[name] <= own[name] + 0.01 * np.abs(own[name])
    fresh = [i for i in np.flatnonzero(fits) if tuple(moves[i].tolist()) not in seen | {policy}]
    best = sorted(fresh, key=lambda i: float(values[LOSS][i]))[:most]
    return [tuple(moves[i].tolist()) for i in best]
