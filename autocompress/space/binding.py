"""A search space: rules that speak of layers by pattern, bound to the layers of one model on one target.

Binding gives *slots*. A slot is a set of layers that take the same option (q, k and v; gate and up; whatever a rule
ties by ``share``), with a finite list of legal options, the first of which leaves the layers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from autocompress.basics.matching import matches, near_misses, unknown
from autocompress.core.domain import Value, narrow
from autocompress.core.layer import KINDS, Layer
from autocompress.core.policy import LayerPolicy, Step
from autocompress.core.target import Target
from autocompress.errors import SpaceError
from autocompress.plugin.registry import Registry, missing

SHARES = ("layer", "block", "model")


@dataclass(frozen=True)
class Rule:
    """Offer a technique to the layers whose names match.

    match      shell-style pattern over layer names.
    technique  its name.
    kind       only layers of this kind, or "".
    params     parameter to the values that may be tried; the technique's whole domain where absent.
    share      ``layer``, ``block`` or ``model``: within which all matched layers take the same option.
    """

    match: str
    technique: str
    kind: str = ""
    params: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    share: str = "layer"


@dataclass(frozen=True)
class SearchSpace:
    """Rules under a name; where a space comes from is ``source``."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True)
class Slot:
    """Layers that take one option together; ``options[0]`` is dense. ``structural``: it changes a group's sizes."""

    name: str
    layers: tuple[Layer, ...]
    options: tuple[LayerPolicy, ...]

    @property
    def structural(self) -> bool:
        return self.layers[0].kind in ("ffn", "attention", "block")


@dataclass(frozen=True)
class Binding:
    """The slots of a model, and what was dropped, with the reason, for the user to read."""

    slots: tuple[Slot, ...]
    dropped: Mapping[str, str]


def bind(space: SearchSpace, layers: Sequence[Layer], registry: Registry, target: Target) -> Binding:
    """The finite options of every layer on this target.

    Raises SpaceError for a pattern that matches no layer, an unknown technique or kind, or a value out of its domain.
    """
    dropped: dict[str, str] = {}
    offers: dict[str, list[tuple[int, list[Step]]]] = {}
    shares: dict[str, str] = {}
    for rule in space.rules:
        where = f"space {space.name!r}, rule for {rule.technique!r}"
        for layer in _matched(rule, layers, where):
            steps = _steps(rule, layer, registry, target, where, dropped)
            if steps:
                stage = int(registry.techniques[rule.technique].stage)
                offers.setdefault(layer.fqn, []).append((stage, steps))
                shares[layer.fqn] = max(shares.get(layer.fqn, "layer"), rule.share, key=SHARES.index)
    options = {fqn: _combine(stages) for fqn, stages in offers.items()}
    members: dict[str, list[Layer]] = {}
    ties = _ties(layers)
    for layer in layers:
        if layer.fqn in options:
            members.setdefault(_slot_key(layer, shares[layer.fqn], ties, options[layer.fqn]), []).append(layer)
    slots = tuple(Slot(_slot_name(group), tuple(group), options[group[0].fqn]) for group in members.values())
    if not slots:
        reasons = "; ".join(f"{key}: {why}" for key, why in list(dropped.items())[:3]) or "no rule matched"
        raise SpaceError(f"space {space.name!r} offers nothing for this model on {target.device}: {reasons}.")
    return Binding(slots, dropped)


def _matched(rule: Rule, layers: Sequence[Layer], where: str) -> list[Layer]:
    if rule.share not in SHARES:
        raise SpaceError(f"{where}: {unknown('share', rule.share, SHARES)}")
    if rule.kind and rule.kind not in KINDS:
        raise SpaceError(f"{where}: {unknown('kind', rule.kind, KINDS)}")
    named = [layer for layer in layers if matches(rule.match, layer.fqn)]
    if not named:
        close = near_misses(rule.match.strip("*."), [layer.fqn for layer in layers])
        hint = f" Near misses: {', '.join(map(repr, close))}." if close else ""
        raise SpaceError(f"{where}: pattern {rule.match!r} matches no layer of this model.{hint}")
    return [layer for layer in named if not rule.kind or layer.kind == rule.kind]


def _steps(
    rule: Rule, layer: Layer, registry: Registry, target: Target, where: str, dropped: dict[str, str]
) -> list[Step]:
    """The steps that a rule offers to one layer; what is not offered is noted in ``dropped``."""
    technique = registry.technique(rule.technique)
    if layer.kind not in technique.kinds:
        return []
    absent = missing(technique.requires)
    if absent:
        dropped[rule.technique] = f"not installed; run: {absent}"
        return []
    domain = technique.domain(layer, target) if not layer.note else None
    if domain is None:
        dropped[f"{rule.technique} on {layer.fqn}"] = layer.note or f"no real kernel or no gain here ({target.device})"
        return []
    strangers = [name for name in rule.params if name not in domain]
    if strangers and domain:
        raise SpaceError(f"{where}: {unknown('parameter', strangers[0], domain)}")
    values = []
    for name, whole in domain.items():
        wanted = [value for value in rule.params.get(name, whole.values()) if name not in rule.params or value in whole]
        if name in rule.params and not wanted:
            narrow(whole, rule.params[name], where=f"{where}, layer {layer.fqn!r}, parameter {name!r}")
        values.append([(name, value) for value in wanted])
    steps = [Step(rule.technique, dict(chosen)) for chosen in product(*values)]
    return [step for step in steps if _has_kernel(step, layer, registry, target, dropped)]


def _has_kernel(step: Step, layer: Layer, registry: Registry, target: Target, dropped: dict[str, str]) -> bool:
    """Whether the target's runtime runs what a step gives; why not is noted in ``dropped``."""
    precision = registry.technique(step.technique).precision(step.params)
    lacking = "" if precision is None else registry.runtime(target.runtime).lacks(precision, target)
    if lacking:
        dropped[f"{step.label()} on {layer.fqn}"] = lacking
    return not lacking


def _combine(stages: list[tuple[int, list[Step]]]) -> tuple[LayerPolicy, ...]:
    """At most one step a stage, in every combination; dense first."""
    by_stage: dict[int, list[Step | None]] = {}
    for stage, steps in stages:
        known = by_stage.setdefault(stage, [None])
        known.extend(step for step in steps if step not in known)
    combinations = product(*(by_stage[stage] for stage in sorted(by_stage)))
    return tuple(LayerPolicy(tuple(step for step in chosen if step is not None)) for chosen in combinations)


def _ties(layers: Sequence[Layer]) -> dict[str, str]:
    """Linears that must agree because one kernel reads their common input: q, k and v; gate and up."""
    ties = {}
    for layer in layers:
        roles = {"attention": ("q", "k", "v"), "ffn": ("gate", "up")}.get(layer.kind, ())
        for role in roles:
            if role in layer.roles:
                ties[layer.roles[role].fqn] = layer.fqn
    return ties


def _slot_key(layer: Layer, share: str, ties: Mapping[str, str], options: tuple[LayerPolicy, ...]) -> str:
    offered = f"{layer.kind}|{hash(tuple(option.label() for option in options))}"
    if share == "model":
        return f"model|{offered}"
    if share == "block" and layer.block:
        return f"block|{layer.block}|{offered}"
    # Grouped-query attention: q is wider than k and v, so their rank options differ and they are slots of their own.
    return f"tie|{ties[layer.fqn]}|{offered}" if layer.fqn in ties else f"layer|{layer.fqn}"


def _slot_name(group: Sequence[Layer]) -> str:
    return group[0].fqn if len(group) == 1 else f"{group[0].fqn} (+{len(group) - 1})"
