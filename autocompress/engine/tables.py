"""A problem's option tables as rectangular arrays, so that the allocator and the surrogate can be vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autocompress.engine.problem import Assignment, Option, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Tables:
    """Option tables of L units, padded to O options; T technique parts and R resources.

    parts   (L, O, T) damage by technique, negative for a gain; zero where padded.
    damage  (L, O) sum of the parts; infinite where padded.
    costs   (R, L, O) additive costs; infinite where padded.
    uses    (L, O, K) share of each technique in an option, even among those that it joins.
    first, last (L, O) index of the number format that a unit begins and ends with; changes (L, O) within it.
    """

    techniques: tuple[str, ...]
    resources: tuple[str, ...]
    parts: Floats
    damage: Floats
    costs: Floats
    uses: Floats
    first: Ints
    last: Ints
    changes: Ints
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
        """Changes of number format along the model, per policy of `policies` (C, L): (C,)."""
        rows = np.arange(self.n_units)
        between = self.first[rows, policies][:, 1:] != self.last[rows, policies][:, :-1]
        return np.asarray(between.sum(axis=1) + self.changes[rows, policies].sum(axis=1), dtype=np.int64)


def damage_parts(option: Option) -> dict[str, float]:
    """The option's damage by technique; unsplit damage belongs to its techniques joined."""
    if option.damage_parts:
        return {name: float(value) for name, value in option.damage_parts.items()}
    return {"+".join(option.techniques) or "dense": option.damage} if option.damage else {}


def build_tables(problem: Problem) -> Tables:
    """Pad the options of `problem` into arrays."""
    techniques = tuple(
        sorted({name for unit in problem.units for option in unit.options for name in damage_parts(option)})
    )
    resources = tuple(resource.name for resource in problem.resources)
    shape = (len(problem.units), max(len(unit.options) for unit in problem.units))
    parts = np.zeros((*shape, max(1, len(techniques))))
    costs = np.full((len(resources), *shape), np.inf)
    first, last, changes = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    valid = np.zeros(shape, dtype=bool)
    known_formats: dict[str, int] = {}
    used = sorted({name for unit in problem.units for option in unit.options for name in option.techniques})
    uses = np.zeros((*shape, len(used)))
    for i, unit in enumerate(problem.units):
        for j, option in enumerate(unit.options):
            valid[i, j] = True
            numbers = [known_formats.setdefault(name, len(known_formats)) for name in option.formats]
            first[i, j], last[i, j] = numbers[0], numbers[-1]
            changes[i, j] = sum(one != other for one, other in pairwise(numbers))
            for name in option.techniques:
                uses[i, j, used.index(name)] = 1.0 / len(option.techniques)
            for name, value in damage_parts(option).items():
                parts[i, j, techniques.index(name)] = value
            for r, name in enumerate(resources):
                costs[r, i, j] = option.costs[name]
    damage = np.where(valid, parts.sum(axis=2), np.inf)
    depth = np.array([unit.depth for unit in problem.units])
    return Tables(techniques or ("dense",), resources, parts, damage, costs, uses, first, last, changes, valid, depth)


def as_array(assignments: Sequence[Assignment]) -> Ints:
    """Assignments as an integer array (C, L)."""
    return np.array(assignments, dtype=np.int64)
