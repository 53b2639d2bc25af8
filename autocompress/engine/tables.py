"""A problem's option tables as rectangular arrays, so that the allocator and the surrogate can be vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.engine.problem import Assignment, Option, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Tables:
    """Option tables of L units, padded to O options; T technique parts and R resources.

    parts   (L, O, T) damage by technique; zero where padded.
    damage  (L, O) sum of the parts; infinite where padded.
    costs   (R, L, O) additive costs; infinite where padded.
    formats (L, O) number-format index.
    """

    techniques: tuple[str, ...]
    resources: tuple[str, ...]
    parts: Floats
    damage: Floats
    costs: Floats
    formats: Ints
    valid: Bools
    depth: Floats

    @property
    def n_units(self) -> int:
        return int(self.damage.shape[0])

    def pick(self, table: Floats, policies: Ints) -> Floats:
        """Entries of `table` (L, O, ...) chosen by `policies` (C, L): (C, L, ...)."""
        return np.asarray(table[np.arange(self.n_units), policies])

    def cost_sums(self, policies: Ints) -> Floats:
        """Table sums of `policies` (C, L) per resource: (C, R)."""
        rows = np.arange(self.n_units)
        return np.stack([cost[rows, policies].sum(axis=1) for cost in self.costs], axis=1)

    def switches(self, policies: Ints) -> Ints:
        """Number of neighbours in different number formats, per policy of `policies` (C, L): (C,)."""
        chosen = self.formats[np.arange(self.n_units), policies]
        return np.asarray((chosen[:, 1:] != chosen[:, :-1]).sum(axis=1), dtype=np.int64)


def damage_parts(option: Option) -> dict[str, float]:
    """The option's damage by technique; unsplit damage belongs to its techniques joined."""
    if option.damage_parts:
        return {name: max(0.0, value) for name, value in option.damage_parts.items()}
    return {"+".join(option.techniques) or "dense": option.damage} if option.damage > 0 else {}


def build_tables(problem: Problem) -> Tables:
    """Pad the options of `problem` into arrays."""
    techniques = tuple(
        sorted({name for unit in problem.units for option in unit.options for name in damage_parts(option)})
    )
    resources = tuple(resource.name for resource in problem.resources)
    shape = (len(problem.units), max(len(unit.options) for unit in problem.units))
    parts = np.zeros((*shape, max(1, len(techniques))))
    costs = np.full((len(resources), *shape), np.inf)
    formats = np.zeros(shape, dtype=np.int64)
    valid = np.zeros(shape, dtype=bool)
    known_formats: dict[str, int] = {}
    for i, unit in enumerate(problem.units):
        for j, option in enumerate(unit.options):
            valid[i, j] = True
            formats[i, j] = known_formats.setdefault(option.format, len(known_formats))
            for name, value in damage_parts(option).items():
                parts[i, j, techniques.index(name)] = value
            for r, name in enumerate(resources):
                costs[r, i, j] = option.costs[name]
    damage = np.where(valid, parts.sum(axis=2), np.inf)
    depth = np.array([unit.depth for unit in problem.units])
    return Tables(techniques or ("dense",), resources, parts, damage, costs, formats, valid, depth)


def as_array(assignments: Sequence[Assignment]) -> Ints:
    """Assignments as an integer array (C, L)."""
    return np.array(assignments, dtype=np.int64)
