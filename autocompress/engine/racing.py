"""Racing: policies that promise about as much are first compared on little data, the same for all of them.

A race costs a fraction of an evaluation and decides which policy gets one. More data goes only to those that the data
so far cannot tell from the best, by paired differences (as in F-Race, Birattari et al., 2002). What a race saw is never
told to the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autocompress.engine.problem import Assignment
from autocompress.engine.scale import apart, compress, expand, hoped
from autocompress.engine.tables import Floats

Screen = Callable[[Assignment, int], Sequence[float] | None]
"""(policy, rung) to its losses on that rung's rows, which are the same for every policy; None if it does not run."""

RUNGS = 2
LEAST_DOUBT = 0.15
"""A surrogate that is right to within this log error needs no races: they cost more than they can find."""
_REMEMBERED = 20
_Z = 1.0
_NEAR, _LEAST = 1e-6, 1e-12
"""The floor of a race's scale, as a share of its largest loss, and absolute."""

Gains = Callable[[Floats, list[int]], Floats]
"""What some policies (by index) would add, given their losses."""


class Races:
    """The races of one search, and how far off the surrogate and the first rows have been.

    look    what the latest winner lost on the rows that were seen of it; None if no policy ran.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.look: float | None = None
        self._looks: list[float] = []
        self._misses: list[float] = []

    @property
    def doubt(self) -> float:
        """How far off the surrogate was lately: root mean square of log(measured / predicted loss)."""
        return float(np.sqrt(np.mean(np.square(self._misses)))) if len(self._misses) >= 4 else 0.0

    @property
    def worthwhile(self) -> bool:
        """Whether the surrogate leaves a race anything to find."""
        return self.doubt >= LEAST_DOUBT

    def winner(self, policies: Sequence[Assignment], predicted: Floats, gains: Gains) -> int:
        """Index of the policy to evaluate; ``predicted`` losses and those seen count by how far off each has been."""
        self.look = None
        alive, seen = list(range(len(policies))), [list[float]() for _ in policies]
        leader = 0
        for rung in range(RUNGS):
            for index in list(alive):
                found = self._screen(policies[index], rung)
                if found is None:
                    alive.remove(index)
                else:
                    seen[index] += found
            if not alive:
                return 0
            rows = np.array([seen[index] for index in alive])
            means = rows.mean(axis=1)
            floor = _NEAR * max(float(np.abs(means).max()), float(np.abs(predicted[alive]).max()), _LEAST)
            sizes = np.hypot(means, floor)
            noise = rows.std(axis=1) / sizes / np.sqrt(rows.shape[1])
            trust = self.doubt**2 / (self.doubt**2 + noise**2)
            looked = compress(means * self._scale(), floor)
            losses = expand(trust * looked + (1 - trust) * compress(predicted[alive], floor), floor)
            values = gains(losses, alive)
            best = int(values.argmax())
            leader = alive[best]
            spread = (rows - rows[best]).std(axis=1) / sizes / np.sqrt(rows.shape[1])
            hopeful = gains(hoped(losses, _Z * trust * spread), alive) >= values[best]
            alive = [index for index, hope in zip(alive, hopeful, strict=True) if hope or index == leader]
            if len(alive) == 1:
                break
        self.look = float(np.mean(seen[leader]))
        return leader

    def told(self, predicted: float, loss: float, look: float | None = None) -> None:
        """What a policy was predicted to lose and has lost on all rows; `look` on those of the race that it won."""
        if look is not None and look > 0 and loss > 0:
            self._looks = [*self._looks, float(np.log(loss / look))][-_REMEMBERED:]
        self._misses = [*self._misses, apart(loss, predicted)][-_REMEMBERED:]

    def _scale(self) -> float:
        """What turns a loss on the first rows into one on all of them."""
        return float(np.exp(np.mean(self._looks))) if self._looks else 1.0
