"""Prices every option of a model: seconds and bytes from the cost table, damage from cheap scores and probes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from torch import nn

from autocompress.compress import parts
from autocompress.contracts.evaluator import Batch
from autocompress.contracts.linears import weight_of
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.core.progress import Event, Progress
from autocompress.errors import TrialError, cause_of
from autocompress.estimate.latency import Cost, CostTable, Dense, shapes_after
from autocompress.estimate.loss import Probed, Sensitivity
from autocompress.estimate.table import Priced, Structures
from autocompress.plugin.registry import Registry
from autocompress.space.binding import Binding, Slot
from autocompress.structure import Recorded, nearest, owner_of, record_first, running

logger = logging.getLogger(__name__)
DENSE = LayerPolicy()


class Prices:
    """Measures once, then answers what the options of a slot cost under any structure of its part.

    batches   the timed example first; a layer that does not run on it is priced from a later one on which it does, and
              its time counts for nothing, as in the example's own latency.
    ``slots`` are those that could be priced; ``refused`` maps options, and layers with all theirs, to the cause.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        binding: Binding,
        registry: Registry,
        batches: Sequence[Batch],
        progress: Progress,
    ) -> None:
        self._model, self._layers, self._registry, self._progress = model, layers, registry, progress
        self._batches = batches
        self.slots = binding.slots
        self.refused: dict[str, str] = {}
        self.part_of = parts(layers)
        self._by_name = {layer.fqn: layer for layer in layers}
        self._members: dict[str, list[Layer]] = {}
        for layer in layers:
            self._members.setdefault(self.part_of[layer.fqn], []).append(layer)
        self._modules: dict[tuple[str, tuple[int, int]], dict[str, Cost]] = {}
        self._structures: dict[str, dict[str, Cost]] = {}
        self._shapes: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
        self._seconds: dict[str, float] = {}
        self._beside: dict[str, float] = {}
        self._names: dict[tuple[str, tuple[int, int]], str] = {}
        self._damage: dict[tuple[str, str], float | None] = {}
        self._recorded: dict[str, Recorded] | None = None
        self._called: set[str] | None = None
        self._probed: dict[tuple[str, str], Probed] = {}

    @property
    def recorded(self) -> Mapping[str, Recorded]:
        """One call of each submodule that is replayed alone: the owner of every part, and of every single layer."""
        if self._recorded is None:
            self._recorded = self.record(self._batches)
        return self._recorded

    def record(self, batches: Sequence[Batch]) -> dict[str, Recorded]:
        """The same from the first of other batches on which each runs."""
        layers = [layer for slot in self.slots for layer in slot.layers]
        wanted = {self.owner(self.part_of[layer.fqn]) for layer in layers} | {layer.owner for layer in layers}
        return record_first(self._model, wanted, batches)

    def owner(self, part: str) -> str:
        """The smallest module that is called and holds everything in a part."""
        members = [layer for layer in self._members[part] if layer.kind != "block"]
        groups = [layer.owner for layer in members if layer.kind in ("ffn", "attention") and not layer.note]
        if not groups:
            return members[0].owner if members else self._by_name[part].owner
        if len(groups) == 1:
            return groups[0]
        if self._called is None:
            names = {name for name, _ in self._model.named_modules()}
            self._called = running(self._model, self._batches[0], names)
        return nearest(owner_of(groups), self._called)

    def measure_costs(self, table: CostTable, latency: float) -> None:
        """Time every unique shape and option on the target; ``latency`` of the dense model, in seconds.

        What raises is dropped with its cause: an option, or a slot whose dense layer cannot be timed alone.
        """
        slots = sorted(self.slots, key=lambda slot: not slot.structural)  # structures give the shapes of the others
        for number, slot in enumerate(slots):
            what = "structure" if slot.structural else "kernels"
            self._progress(Event("cost", number, len(slots), f"{what} of {slot.name}"))
            try:
                for layer in slot.layers:
                    if slot.structural:
                        self._price_structure(table, slot, layer)
                    else:
                        self._price_modules(table, slot, layer)
            except (Exception, SystemExit) as error:  # a stranger's module may raise anything: it is left as it is
                logger.debug("cannot price %s", slot.name, exc_info=True)
                self._drop(slot, error)
        self.refused |= table.refused
        self._progress(Event("cost", len(slots) - 1, len(slots), "shares of the whole model"))
        shares = table.shares(self._dense_modules())
        self._seconds = {name: share * latency for name, share in shares.items()}

    def _price_structure(self, table: CostTable, slot: Slot, layer: Layer) -> None:
        members = self._members[self.part_of[layer.fqn]]
        costs = table.structures(self._model, layer, members, self._call_of(layer.owner), slot.options)
        for option in slot.options:
            if option.label() in costs:
                shapes = shapes_after(self._model, layer, option, members, self._registry)
                self._shapes[layer.fqn, option.label()] = shapes
        self._structures[layer.fqn] = costs

    def _price_modules(self, table: CostTable, slot: Slot, layer: Layer) -> None:
        for shape in self._possible_shapes(layer):
            if (layer.fqn, shape) not in self._modules:
                dense, call = self._model.get_submodule(layer.fqn), self._call_of(layer.fqn)
                self._modules[layer.fqn, shape] = table.modules(layer, dense, shape, call, slot.options)

    def _call_of(self, fqn: str) -> Recorded:
        if fqn not in self.recorded:
            raise TrialError("it runs neither on the timed example nor on a row of the calibration data")
        return self.recorded[fqn]

    def _drop(self, slot: Slot, error: BaseException) -> None:
        self.slots = tuple(other for other in self.slots if other is not slot)
        for layer in slot.layers:
            self.refused[layer.fqn] = cause_of(error)
            self._structures.pop(layer.fqn, None)
            for key in [key for key in self._modules if key[0] == layer.fqn]:
                del self._modules[key]

    def _dense_modules(self) -> dict[str, Dense]:
        """One module for every distinct shape that was priced, and every distinct owner of a group."""
        dense: dict[str, Dense] = {}
        recorded = self.recorded
        for fqn, shape in self._modules:
            module, call = self._model.get_submodule(fqn), recorded[fqn]
            dense.setdefault(_shape_name(module, shape, call), (module, shape, call))
        for fqn in self._structures:
            layer = self._by_name[fqn]
            dense.setdefault(_owner_name(layer), (self._model.get_submodule(layer.owner), None, recorded[layer.owner]))
        self._names = {
            (fqn, shape): _shape_name(self._model.get_submodule(fqn), shape, recorded[fqn])
            for fqn, shape in self._modules
        }
        return dense

    def _module_seconds(self, layer: Layer, shape: tuple[int, int], label: str) -> float | None:
        """Seconds of an option of one module within the whole model; None when it does not exist at this shape."""
        cost = self._modules[layer.fqn, shape].get(label)
        if cost is None:
            return None
        return self.recorded[layer.fqn].calls * self._seconds[self._names[layer.fqn, shape]] / cost.speedup

    def measure_damage(self, sensitivity: Sensitivity, *, probes: bool = True) -> None:
        """A cheap score for every single step, then one probe per part and technique."""
        for number, slot in enumerate(self.slots):
            self._progress(Event("sensitivity", number, 2 * len(self.slots), f"scores of {slot.name}"))
            for part, members in self._by_part(slot).items():
                for step in _steps(slot):
                    policy = _policy(members, step)
                    self._damage[f"{part}|{members[0].fqn}", step.label()] = sensitivity.cheap(self.owner(part), policy)
        plans = self._plans()
        if not probes:
            self._probed = dict.fromkeys(plans, Probed(1.0, 1.0))
            return
        for number, ((part, technique), (policy, cheap)) in enumerate(plans.items()):
            message = f"probe of {technique} on {part}"
            self._progress(Event("sensitivity", len(plans) + number, 2 * len(plans), message))
            order = min(self._by_name[fqn].order for fqn in policy.layers)
            self._probed[part, technique] = sensitivity.probe(order, policy, cheap)

    def slot(self, slot: Slot, structures: Structures) -> list[Priced]:
        """Every option of a plain slot, given the structures of its unit."""
        priced = []
        for option in slot.options:
            total = Priced({}, 0.0, 0.0)
            for layer in slot.layers:
                shape, label = self._shape(layer, structures), option.label()
                seconds = self._module_seconds(layer, shape, label)
                if seconds is None:
                    break
                weight = self._modules[layer.fqn, shape][label].bytes
                total = total.plus(Priced({layer.fqn: option}, seconds, weight))
            else:
                damage = self._damages(slot, option)
                if damage is not None:
                    priced.append(total.plus(Priced({}, 0.0, 0.0, damage)))
        return priced

    def structure(self, structures: Structures) -> Priced | None:
        """What a choice of structures costs beyond its linears, which their own slots price at the new shapes.

        Seconds are those of the groups' owners, so that what a structure saves is taken from what there is.
        """
        total = Priced({}, 0.0, 0.0)
        for fqn, option in structures.items():
            layer, cost = self._by_name[fqn], self._structures[fqn].get(option.label())
            if cost is None:
                return None
            # The owner's time less what is priced elsewhere: its own linears, at the new shapes, and its neighbours.
            seconds = self.recorded[layer.owner].calls * self._seconds[_owner_name(layer)] / cost.speedup
            seconds -= self._neighbours(layer)
            for module in layer.modules:
                linear = self._by_name[module]
                shape = self._shape(linear, structures)
                if (module, shape) in self._modules:
                    seconds -= self._module_seconds(linear, shape, "dense") or 0.0
            damage: Mapping[str, float] | None = {}
            for slot in self.slots:
                if slot.structural and layer in slot.layers:
                    damage = self._damages(slot, option, only=layer)
            if damage is None:
                return None
            unpriced = set(layer.modules) - {other.fqn for slot in self.slots for other in slot.layers}
            weight = sum(self._dense_bytes(module, structures) for module in unpriced)
            total = total.plus(Priced({fqn: option}, seconds, weight, damage))
        return total

    def _neighbours(self, layer: Layer) -> float:
        """Dense seconds of what is priced for itself inside a group's owner without being part of the group."""
        if layer.fqn not in self._beside:
            inside = [other for fqn in self._structures if _within((other := self._by_name[fqn]).owner, layer.owner)]
            owners = {other.owner: other for other in inside if other.owner != layer.owner}
            outer = [owners[name] for name in owners if not any(_within(name, n) for n in owners if n != name)]
            seconds = sum(self.recorded[one.owner].calls * self._seconds[_owner_name(one)] for one in outer)
            for fqn in dict.fromkeys(fqn for fqn, _ in self._modules):
                priced = fqn in layer.modules or any(_within(fqn, other.owner) for other in outer)
                if _within(fqn, layer.owner) and not priced:
                    other = self._by_name[fqn]
                    seconds += self._module_seconds(other, self._shape(other, {}), "dense") or 0.0
            self._beside[layer.fqn] = seconds
        return self._beside[layer.fqn]

    def costs_of(self, layer: Layer) -> dict[str, Cost]:
        """Option label to cost at the layer's own shape."""
        if layer.fqn in self._structures:
            return self._structures[layer.fqn]
        return self._modules[layer.fqn, self._shape(layer, {})]

    def depth(self, slot: Slot) -> float:
        """Position of a slot in the model, 0 at the input and 1 at the output."""
        last = max(layer.order for layer in self._layers) or 1
        return slot.layers[0].order / last

    def _dense_bytes(self, module: str, structures: Structures) -> float:
        """Bytes of a linear that stays dense, at the shape that the structures leave it."""
        rows, columns = self._shape(self._by_name[module], structures)
        dense = self._model.get_submodule(module)
        biased = rows if getattr(dense, "bias", None) is not None else 0
        return (rows * columns + biased) * weight_of(dense).element_size()

    def _by_part(self, slot: Slot) -> dict[str, list[Layer]]:
        found: dict[str, list[Layer]] = {}
        for layer in slot.layers:
            found.setdefault(self.part_of[layer.fqn], []).append(layer)
        return found

    def _possible_shapes(self, layer: Layer) -> list[tuple[int, int]]:
        own = next(iter(layer.shapes.values()))
        shapes = [(own[0], own[1])]
        shapes += [known[layer.fqn] for known in self._shapes.values() if layer.fqn in known]
        return list(dict.fromkeys(shapes))

    def _shape(self, layer: Layer, structures: Structures) -> tuple[int, int]:
        for group, option in structures.items():
            known = self._shapes.get((group, option.label()), {})
            if layer.fqn in known:
                return known[layer.fqn]
        own = next(iter(layer.shapes.values()))
        return own[0], own[1]

    def _damages(self, slot: Slot, option: LayerPolicy, *, only: Layer | None = None) -> dict[str, float] | None:
        """Technique to predicted loss of an option, or None when a step cannot be built."""
        damage: dict[str, float] = {}
        for part, members in self._by_part(slot).items():
            if only is not None and self.part_of[only.fqn] != part:
                continue
            for step in option.steps:
                cheap = self._damage[f"{part}|{members[0].fqn}", step.label()]
                probed = self._probed.get((part, step.technique))
                if cheap is None or probed is None:
                    return None
                damage[step.technique] = damage.get(step.technique, 0.0) + probed.damage(cheap)
        return damage

    def _plans(self) -> dict[tuple[str, str], tuple[Policy, float]]:
        """(part, technique) to the probe's policy (the middle option, on every layer of the part) and cheap score."""
        plans: dict[tuple[str, str], tuple[Policy, float]] = {}
        for slot in self.slots:
            for part, members in self._by_part(slot).items():
                for technique in dict.fromkeys(step.technique for step in _steps(slot)):
                    scored = [
                        (cheap, step)
                        for step in _steps(slot)
                        if step.technique == technique
                        and (cheap := self._damage[f"{part}|{members[0].fqn}", step.label()]) is not None
                    ]
                    if scored:
                        cheap, step = sorted(scored, key=lambda item: item[0])[len(scored) // 2]
                        policy, before = plans.get((part, technique), (Policy(), 0.0))
                        layers = {**policy.layers, **_policy(members, step).layers}
                        plans[part, technique] = Policy(layers), before + cheap
        return plans


def _shape_name(module: nn.Module, shape: tuple[int, int], recorded: Recorded) -> str:
    given = "x".join(map(str, recorded.input.shape[:-1])) if recorded.input is not None else ""
    return f"{type(module).__name__} {shape[0]}x{shape[1]} on {given}"


def _within(name: str, owner: str) -> bool:
    return not owner or name == owner or name.startswith(owner + ".")


def _owner_name(layer: Layer) -> str:
    sizes = ",".join(f"{name}={size}" for name, size in sorted(layer.sizes.items()))
    return f"owner of {layer.kind} {sizes} {layer.shapes}"


def _steps(slot: Slot) -> list[Step]:
    found: list[Step] = []
    for option in slot.options:
        found += [step for step in option.steps if step not in found]
    return found


def _policy(members: Sequence[Layer], step: Step) -> Policy:
    return Policy({layer.fqn: LayerPolicy((step,)) for layer in members})
