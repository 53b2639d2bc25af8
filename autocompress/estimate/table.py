"""The search problem of one model: slots, measured costs and probed damages become units with finite options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

import numpy as np

from autocompress.core.policy import LayerPolicy, Policy
from autocompress.engine.problem import Assignment, Option, Unit
from autocompress.space.binding import Slot

MOST_OPTIONS = 96
"""Options a unit keeps: its non-dominated ones, thinned evenly over their damage."""
MOST_STRUCTURES = 400
"""Combinations of structures that are priced in one unit; of more, these many are chosen evenly."""


@dataclass(frozen=True)
class Priced:
    """One option of one slot: what it adds to the unit. ``custom`` by objective, as a change against dense."""

    layers: Mapping[str, LayerPolicy]
    seconds: float
    bytes: float
    damage: Mapping[str, float] = field(default_factory=dict)
    custom: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.damage.values())

    @property
    def dense(self) -> bool:
        """Whether it changes nothing."""
        return not any(policy.steps for policy in self.layers.values())

    def plus(self, other: Priced) -> Priced:
        damage, custom = _sum(self.damage, other.damage), _sum(self.custom, other.custom)
        layers = {**self.layers, **other.layers}
        return Priced(layers, self.seconds + other.seconds, self.bytes + other.bytes, damage, custom)


Structures = Mapping[str, LayerPolicy]
"""Group name to its structural option, for the groups of one unit."""
PriceSlot = Callable[[Slot, Structures], list[Priced]]
PriceStructure = Callable[[Structures], Priced | None]
PriceCustom = Callable[[Mapping[str, LayerPolicy]], Mapping[str, float]]
"""What the custom objectives of a model change by when some of its layers do."""


@dataclass(frozen=True)
class Table:
    """Units for the engine, and the policies that their options stand for.

    idle       slots that are in no unit, since nothing but dense is left of them.
    left_out   combinations of structures that were not priced, there being too many.
    """

    units: tuple[Unit, ...]
    policies: tuple[tuple[Mapping[str, LayerPolicy], ...], ...]
    idle: tuple[str, ...] = ()
    left_out: int = 0

    def policy(self, assignment: Assignment) -> Policy:
        """The policy that an assignment means."""
        layers: dict[str, LayerPolicy] = {}
        for options, index in zip(self.policies, assignment, strict=True):
            layers |= {fqn: policy for fqn, policy in options[index].items() if policy.steps}
        return Policy(layers)

    def predicted(self, assignment: Assignment, resource: str) -> float:
        """The table's sum of one resource."""
        return sum(unit.options[i].costs[resource] for unit, i in zip(self.units, assignment, strict=True))


def build_table(
    slots: Sequence[Slot], part_of: Mapping[str, str], depth_of: Callable[[Slot], float],
    price_slot: PriceSlot, price_structure: PriceStructure, format_of: Callable[[LayerPolicy], str],
    *, price_custom: PriceCustom = lambda _: {},
) -> Table:  # fmt: skip
    """Units in the order of execution; slots that touch a common part, or are tied across parts, decide together.

    format_of   the number format that a layer runs in under its policy.
    """
    units, policies, idle, left_out = [], [], list[str](), 0
    for cluster in clusters(slots, part_of):
        structural = [slot for slot in cluster if slot.structural]
        plain = [slot for slot in cluster if not slot.structural]
        found: list[Priced] = []
        sizes = [len(slot.options) for slot in structural]
        left_out += max(0, prod(sizes) - MOST_STRUCTURES)
        for indices in spread(sizes, MOST_STRUCTURES):
            chosen = [slot.options[index] for slot, index in zip(structural, indices, strict=True)]
            structures = {
                layer.fqn: option for slot, option in zip(structural, chosen, strict=True) for layer in slot.layers
            }
            base = price_structure(structures) if structural else Priced({}, 0.0, 0.0)
            if base is None:
                continue
            before = price_custom(structures)
            partial = [replace(base, custom=before)]
            for slot in plain:
                options = [_with_custom(one, before, structures, price_custom) for one in price_slot(slot, structures)]
                partial = _thin([one.plus(other) for one in partial for other in options])
            found += partial
        dense = next((one for one in found if one.dense), None)
        rest = _thin([one for one in found if one is not dense])
        if dense is None or not rest:
            idle += [slot.name for slot in cluster]  # nothing is left to choose; why was told where it was refused
            continue
        kept = [dense, *rest]
        first = min(cluster, key=lambda slot: slot.layers[0].order).layers[0]
        order = sorted((layer.order, layer.fqn) for slot in plain for layer in slot.layers)
        formats = [tuple(format_of(one.layers[fqn]) for _, fqn in order) or ("",) for one in kept]
        units.append(Unit(first.fqn, first.kind, depth_of(cluster[0]), tuple(_options(kept, formats))))
        policies.append(tuple(one.layers for one in kept))
    return Table(tuple(units), tuple(policies), tuple(idle), left_out)


def spread(sizes: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
    """Every combination of ``sizes[i]`` indices, or ``most`` of them: those that change all alike, then an even spread.

    >>> list(spread([2, 2], 4))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    if prod(sizes) <= most:
        yield from product(*(range(size) for size in sizes))
        return
    steps = max(sizes) - 1
    given = {tuple(round((size - 1) * level / steps) for size in sizes): None for level in range(steps + 1)}
    # Kronecker's sequence: multiples of irrational numbers, modulo one, fill a cube evenly however many are taken.
    irrational = [(2.0 + axis) ** 0.5 * 0.6180339887498949 for axis in range(len(sizes))]
    number = 0
    while len(given) < most:
        number += 1
        given[tuple(int(number * one % 1.0 * size) for one, size in zip(irrational, sizes, strict=True))] = None
    yield from list(given)[:most]


def _with_custom(one: Priced, before: Mapping[str, float], structures: Structures, price: PriceCustom) -> Priced:
    """What an option changes of the custom objectives beyond the structures of its unit."""
    if one.dense or not before:
        return replace(one, custom=dict.fromkeys(before, 0.0))
    after = price({**structures, **one.layers})
    return replace(one, custom={name: after[name] - value for name, value in before.items()})


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in dict.fromkeys([*one, *other])}


def clusters(slots: Sequence[Slot], part_of: Mapping[str, str]) -> list[list[Slot]]:
    """Slots joined when they share a part, in the order of execution."""
    groups: list[tuple[set[str], list[Slot]]] = []
    for slot in slots:
        touched = {part_of[layer.fqn] for layer in slot.layers}
        joined = [group for group in groups if group[0] & touched]
        merged = (touched.union(*(group[0] for group in joined)), [s for group in joined for s in group[1]] + [slot])
        groups = [group for group in groups if not group[0] & touched] + [merged]
    ordered = sorted(groups, key=lambda group: min(slot.layers[0].order for slot in group[1]))
    return [sorted(group, key=lambda slot: slot.layers[0].order) for _, group in ordered]


def _options(kept: Sequence[Priced], formats: Sequence[tuple[str, ...]]) -> list[Option]:
    options, labels = [], set()
    for one, numbers in zip(kept, formats, strict=True):
        label = _label(one)
        while label in labels:
            label += "'"
        labels.add(label)
        techniques = tuple(sorted({step.technique for policy in one.layers.values() for step in policy.steps}))
        costs = {"latency": one.seconds, "memory": one.bytes, "size": one.bytes, **one.custom}
        options.append(Option(label, techniques, costs, one.total, dict(one.damage), numbers))
    return options


def _label(one: Priced) -> str:
    words: dict[str, int] = {}
    for policy in one.layers.values():
        if policy.steps:
            words[policy.label()] = words.get(policy.label(), 0) + 1
    return ", ".join(f"{count} x {label}" if count > 1 else label for label, count in sorted(words.items())) or "dense"


def _thin(options: list[Priced]) -> list[Priced]:
    """The options that no other beats in any figure; at most MOST_OPTIONS, spread over their damage.

    The dense one stays whatever beats it: it is what every saving is counted from.
    """
    if not options:
        return []
    points = np.array([(one.seconds, one.bytes, one.total, *one.custom.values()) for one in options])
    finite = np.isfinite(points).all(axis=1)
    order = np.lexsort((points[:, 1], points[:, 0], points[:, 2]))
    kept: list[int] = [index for index, one in enumerate(options) if one.dense]
    for index in order:
        if not finite[index] or index in kept:
            continue
        others = points[kept]
        if len(kept) and bool(((others <= points[index] + 1e-12).all(axis=1)).any()):
            continue
        kept.append(int(index))
    if len(kept) > MOST_OPTIONS:
        dense = [index for index in kept if options[index].dense]
        extremes = [min(kept, key=lambda i: points[i, axis]) for axis in range(points.shape[1]) if axis != 2]
        even = np.linspace(0, len(kept) - 1, MOST_OPTIONS - len(extremes)).round().astype(int)
        kept = list(dict.fromkeys([*dense, *(kept[i] for i in even), *extremes]))
    return [options[i] for i in kept]
