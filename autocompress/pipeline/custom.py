"""Prices of a user's own objectives: what every option changes of them, where they are sums over the layers.

An objective is a function of the module. It is asked about the model with the option's structure in place, without
weights, which costs milliseconds. An objective that looks at the weights, or that is no sum over layers, shows that on
a few policies; it gets no table, and is fitted on the evaluated trials instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autocompress.compress import LazyStatistics, Workbench, build_layers, collect_statistics, parts, share
from autocompress.core.objective import MAXIMIZE, Objective
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.errors import TrialError, UsageError
from autocompress.estimate.table import Priced, Structures, Table, build_table
from autocompress.request.setup import Setup
from autocompress.space.binding import Binding, Slot
from autocompress.structure.modules import installed

Layers = Mapping[str, LayerPolicy]
SAME = 1e-6
SUM = 0.05
"""How far the sum of single changes may be from a change of the whole model, as a share of it."""
POLICIES = 4


@dataclass(frozen=True)
class Custom:
    """Prices of the objectives that are sums over layers.

    dense    their values of the dense model, in what the engine minimises.   least  the least that options can reach.
    fitted   the others, with the reason.
    price    what a change of some layers adds to each of them; infinite where it cannot be built.
    """

    dense: Mapping[str, float]
    least: Mapping[str, float]
    fitted: Mapping[str, str]
    price: Callable[[Layers], Mapping[str, float]]


def price_objectives(setup: Setup, binding: Binding) -> Custom:
    """Which objectives have a table, and the prices."""
    functions = [objective for objective in setup.names.objectives if objective.function is not None]
    skeleton = _Skeleton(setup, functions)
    fitted: dict[str, str] = {}
    if functions:
        linears = [layer.fqn for layer in setup.layers if layer.kind == "linear"]
        statistics = LazyStatistics(lambda: collect_statistics(setup.model, linears, setup.rows["calibration"]))
        bench = Workbench(setup.model, setup.layers, setup.registry, statistics)
        for policy in _one_a_technique(binding.slots):
            fitted |= skeleton.look_at_weights(policy, bench)
        skeleton.keep(set(skeleton.dense) - fitted.keys())
    least: dict[str, float] = {}
    if skeleton.dense:
        table = _table(setup, binding, skeleton.price)
        fitted |= skeleton.no_sums(table)
        skeleton.keep(set(skeleton.dense) - fitted.keys())
        least = {
            name: dense + sum(min(option.costs[name] for option in unit.options) for unit in table.units)
            for name, dense in skeleton.dense.items()
        }
    return Custom(skeleton.dense, least, fitted, skeleton.price)


class _Skeleton:
    """The model with the structures of policies in it, asked for the objectives' values."""

    def __init__(self, setup: Setup, objectives: Sequence[Objective]) -> None:
        self._model, self._layers, self._registry = share(setup.model), setup.layers, setup.registry
        self._objectives = {objective.name: objective for objective in objectives}
        self._known: dict[str, Mapping[str, float]] = {}
        try:
            self.dense = {name: _value(objective, setup.model) for name, objective in self._objectives.items()}
        except TrialError as error:
            raise UsageError(f"{error}, for the dense model; an objective is a function of the module.") from error

    def keep(self, names: set[str]) -> None:
        """Ask for these only."""
        self._objectives = {name: one for name, one in self._objectives.items() if name in names}
        self.dense = {name: value for name, value in self.dense.items() if name in names}

    def values(self, layers: Layers) -> Mapping[str, float]:
        """Every objective of the model with these layers changed; infinite where they cannot be built or asked."""
        changed = {fqn: policy for fqn, policy in layers.items() if policy.steps}
        key = "; ".join(f"{fqn} {policy.label()}" for fqn, policy in sorted(changed.items()))
        if key not in self._known:
            try:
                changes = build_layers(self._model, Policy(changed), self._layers, self._registry)
                with installed(self._model, changes.modules, changes.attributes):
                    self._known[key] = {name: _value(one, self._model) for name, one in self._objectives.items()}
            except TrialError:
                self._known[key] = dict.fromkeys(self._objectives, math.inf)
        return self._known[key]

    def price(self, layers: Layers) -> Mapping[str, float]:
        found = self.values(layers) if self.dense else {}
        return {name: found[name] - dense for name, dense in self.dense.items()}

    def look_at_weights(self, policy: Policy, bench: Workbench) -> dict[str, str]:
        """Objectives that say something else of the compressed model than of its structure."""
        try:
            model = bench.set(policy)
            real = {name: _value(objective, model) for name, objective in self._objectives.items()}
        except TrialError:
            return {}  # an option that cannot be built is dropped when it is scored
        finally:
            bench.set(Policy())
        shown = self.values(policy.layers)
        apart = {name for name, value in real.items() if not _same(value, shown[name], self.dense[name])}
        return dict.fromkeys(apart, "it depends on the weights, not on the structure alone")

    def no_sums(self, table: Table) -> dict[str, str]:
        """Objectives whose change by a policy is not the sum of what its layers change."""
        rng, found = np.random.default_rng(0), dict[str, str]()
        most = tuple(len(unit.options) - 1 for unit in table.units)
        for number in range(POLICIES):
            chosen = most if number == 0 else tuple(int(rng.integers(last + 1)) for last in most)
            values = self.values(table.policy(chosen).layers)
            for name, dense in self.dense.items():
                told, change = table.predicted(chosen, name), values[name] - dense
                if not abs(told - change) <= SUM * abs(change) + SAME * abs(dense):
                    found[name] = "it is not a sum over the layers"
        return found


def _value(objective: Objective, model: object) -> float:
    """The objective in what the engine minimises."""
    assert objective.function is not None
    try:
        value = float(objective.function(model))
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise TrialError(f"objective {objective.name!r}: {type(error).__name__}: {error}") from error
    return -value if objective.direction == MAXIMIZE else value


def _same(one: float, other: float, dense: float) -> bool:
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) <= SAME * max(abs(one), abs(dense))


def _one_a_technique(slots: Sequence[Slot]) -> list[Policy]:
    """For every technique a policy of one layer that uses it."""
    found: dict[str, Policy] = {}
    for slot in slots:
        for option in slot.options:
            for step in option.steps:
                found.setdefault(step.technique, Policy({slot.layers[0].fqn: LayerPolicy((step,))}))
    return list(found.values())


def _table(setup: Setup, binding: Binding, price: Callable[[Layers], Mapping[str, float]]) -> Table:
    """Options by what they change of the objectives alone."""

    def plain(slot: Slot, _structures: Structures) -> list[Priced]:
        return [Priced({layer.fqn: option for layer in slot.layers}, 0.0, 0.0) for option in slot.options]

    def structure(structures: Structures) -> Priced:
        return Priced(dict(structures), 0.0, 0.0)

    return build_table(
        binding.slots, parts(setup.layers), lambda _: 0.0, plain, structure, lambda _: "", price_custom=price
    )
