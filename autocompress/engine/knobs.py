"""The 5 to 14 numbers that Optuna searches; the allocator turns them into a policy, whatever the number of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from autocompress.engine.tables import Floats, Tables

_MOST_TECHNIQUES = 4
_MOST_GROUPS = 4
_WEIGHT = 1.2


@dataclass(frozen=True)
class Knobs:
    """Names and ranges, fixed for a whole study: multivariate TPE needs the same space in every trial.

    target:<resource>  fraction of the reachable range that the cap takes, 0 to 1.
    temper             exponent on damage: below 1 trusts differences of sensitivity less, above 1 more.
    weight:<technique> log-weight on that technique's damage.
    depth:<i>          log-weight on the damage of the i-th group of units by depth.
    """

    swept: tuple[str, ...]
    techniques: tuple[str, ...]
    groups: int

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna distributions by knob name."""
        space: dict[str, BaseDistribution] = {f"target:{name}": FloatDistribution(0.0, 1.0) for name in self.swept}
        space["temper"] = FloatDistribution(0.7, 1.4)
        space |= {f"weight:{name}": FloatDistribution(-_WEIGHT, _WEIGHT) for name in self.techniques}
        space |= {f"depth:{i}": FloatDistribution(-_WEIGHT, _WEIGHT) for i in range(self.groups)}
        return space

    def neutral(self, fractions: Sequence[float]) -> dict[str, float]:
        """The knobs of a plain allocator solve at `fractions`, one per swept resource."""
        values = {f"target:{name}": float(f) for name, f in zip(self.swept, fractions, strict=True)}
        values["temper"] = 1.0
        values |= {f"weight:{name}": 0.0 for name in self.techniques}
        values |= {f"depth:{i}": 0.0 for i in range(self.groups)}
        return values

    def fractions(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Target fractions, one per swept resource."""
        return tuple(float(values[f"target:{name}"]) for name in self.swept)

    def warp(self, unary: Floats, tables: Tables, values: Mapping[str, float]) -> Floats:
        """Damage (L, O) as the knobs bend it."""
        bent = np.where(tables.valid, unary, 0.0)
        if self.techniques:
            weights = np.ones(len(tables.techniques))
            for name in self.techniques:
                weights[tables.techniques.index(name)] = np.exp(values[f"weight:{name}"])
            sizes = np.abs(tables.parts)
            total = sizes.sum(axis=2)
            bent = bent * np.where(total > 0, (sizes @ weights) / np.where(total > 0, total, 1.0), 1.0)
        level = float(np.abs(bent).max()) or 1.0
        # A gain, or a coupling that cancels error, is a negative damage; it keeps its sign.
        bent = level * np.sign(bent) * (np.abs(bent) / level) ** values["temper"]
        if self.groups:
            group = np.minimum((tables.depth * self.groups).astype(int), self.groups - 1)
            logs = np.array([values[f"depth:{i}"] for i in range(self.groups)])
            bent = bent * np.exp(logs[group])[:, None]
        return np.asarray(np.where(tables.valid, bent, np.inf))


def build_knobs(tables: Tables, swept: Sequence[str]) -> Knobs:
    """Knobs for these tables: the techniques that carry most damage, and up to four depth groups."""
    carried = np.abs(tables.parts).sum(axis=(0, 1))
    order = np.argsort(-carried)[:_MOST_TECHNIQUES]
    techniques = tuple(tables.techniques[i] for i in sorted(order)) if len(tables.techniques) > 1 else ()
    return Knobs(tuple(swept), techniques, min(_MOST_GROUPS, tables.n_units // 2))
