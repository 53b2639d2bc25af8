"""The search problem of one model: slots, measured costs and probed damages become units with finite options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from autocompress.engine.problem import Assignment, Option, Unit
from autocompress.policy import LayerPolicy, Policy
from autocompress.space import Slot

MOST_OPTIONS = 96
"""Options a unit keeps: its non-dominated ones, thinned evenly over their damage."""
MOST_STRUCTURES = 400


@dataclass(frozen=True)
class Priced:
    """One option of one slot: what it adds to the unit."""

    layers: Mapping[str, LayerPolicy]
    seconds: float
    bytes: float
    damage: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.damage.values())

    @property
    def dense(self) -> bool:
        """Whether it changes nothing."""
        return not any(policy.steps for policy in self.layers.values())

    def plus(self, other: Priced) -> Priced:
        damage = dict(self.damage)
        for name, value in other.damage.items():
            damage[name] = damage.get(name, 0.0) + value
        return Priced({**self.layers, **other.layers}, self.seconds + other.seconds, self.bytes + other.bytes, damage)


Structures = Mapping[str, LayerPolicy]
"""Group name to its structural option, for the groups of one unit."""
PriceSlot = Callable[[Slot, Structures], list[Priced]]
PriceStructure = Callable[[Structures], Priced | None]


@dataclass(frozen=True)
class Table:
    """Units for the engine, and the policies that their options stand for."""

    units: tuple[Unit, ...]
    policies: tuple[tuple[Mapping[str, LayerPolicy], ...], ...]

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
) -> Table:  # fmt: skip
    """Units in the order of execution; slots that touch a common part, or are tied across parts, decide together.

    format_of   the number format that a layer runs in under its policy.
    """
    units, policies = [], []
    for cluster in clusters(slots, part_of):
        structural = [slot for slot in cluster if slot.structural]
        plain = [slot for slot in cluster if not slot.structural]
        found: list[Priced] = []
        for chosen in list(product(*(slot.options for slot in structural)))[:MOST_STRUCTURES]:
            structures = {
                layer.fqn: option for slot, option in zip(structural, chosen, strict=True) for layer in slot.layers
            }
            base = price_structure(structures) if structural else Priced({}, 0.0, 0.0)
            if base is None:
                continue
            partial = [base]
            for slot in plain:
                partial = _thin([one.plus(other) for one in partial for other in price_slot(slot, structures)])
            found += partial
        dense = next((one for one in found if one.dense), None)
        rest = _thin([one for one in found if one is not dense])
        if dense is None or not rest:
            continue  # nothing is left to choose; why was told where each option was refused
        kept = [dense, *rest]
        first = min(cluster, key=lambda slot: slot.layers[0].order).layers[0]
        order = sorted((layer.order, layer.fqn) for slot in plain for layer in slot.layers)
        formats = [tuple(format_of(one.layers[fqn]) for _, fqn in order) or ("",) for one in kept]
        units.append(Unit(first.fqn, first.kind, depth_of(cluster[0]), tuple(_options(kept, formats))))
        policies.append(tuple(one.layers for one in kept))
    return Table(tuple(units), tuple(policies))


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
        costs = {"latency": max(one.seconds, 0.0), "memory": one.bytes, "size": one.bytes}
        options.append(Option(label, techniques, costs, max(0.0, one.total), dict(one.damage), numbers))
    return options


def _label(one: Priced) -> str:
    words: dict[str, int] = {}
    for policy in one.layers.values():
        if policy.steps:
            words[policy.label()] = words.get(policy.label(), 0) + 1
    return ", ".join(f"{count} x {label}" if count > 1 else label for label, count in sorted(words.items())) or "dense"


def _thin(options: list[Priced]) -> list[Priced]:
    """The options that no other beats in seconds, bytes and damage; at most MOST_OPTIONS, spread over their damage.

    The dense one stays whatever beats it: it is what every saving is counted from.
    """
    if not options:
        return []
    points = np.array([(one.seconds, one.bytes, one.total) for one in options])
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
        fastest, smallest = min(kept, key=lambda i: points[i, 0]), min(kept, key=lambda i: points[i, 1])
        spread = np.linspace(0, len(kept) - 1, MOST_OPTIONS - 2).round().astype(int)
        kept = list(dict.fromkeys([*dense, *(kept[i] for i in spread), fastest, smallest]))
    return [options[i] for i in kept]


def rescale(priced: Priced, factors: Mapping[str, float]) -> Priced:
    """Cheap scores turned into losses by the probed factor of each technique."""
    return replace(priced, damage={name: value * factors[name] for name, value in priced.damage.items()})
