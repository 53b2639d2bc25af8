"""From a policy to modules: stage by stage, layer by layer, the same walk for compressing and for rebuilding."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from autocompress.basics.matching import near_misses
from autocompress.basics.patience import allowed, ended_after
from autocompress.compress.statistics import StatisticsStore, push
from autocompress.compress.untouched import untouched
from autocompress.contracts.linears import is_linear, leaves, weight_of
from autocompress.contracts.technique import Calibration, Group, Replacement, Statistics, Technique
from autocompress.core.layer import Layer, Role
from autocompress.core.policy import Policy, Step
from autocompress.errors import PolicyError, TrialError, cause_of
from autocompress.plugin.registry import Registry
from autocompress.structure.modules import install, loose

Make = Callable[[Technique, Group, Step, Calibration], Replacement]


@dataclass
class Changes:
    """What a policy changes in a model: modules by name, attributes by path."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)


def compress_layers(
    model: nn.Module, policy: Policy, layers: Sequence[Layer], registry: Registry, statistics: StatisticsStore
) -> Changes:
    """The compressed modules of a policy; ``model`` itself is read and not changed.

    Raises PolicyError when the policy does not fit, TrialError when a technique cannot build this point.
    """

    def make(technique: Technique, group: Group, step: Step, calibration: Calibration) -> Replacement:
        with torch.no_grad(), untouched(group.modules.values(), f"{step.label()} on {group.layer.fqn!r}"):
            return technique.compress(group, step.params, calibration)

    return _walk(model, policy, layers, registry, make, statistics)


def apply_policy(
    model: nn.Module, policy: Policy, layers: Sequence[Layer], registry: Registry, statistics: StatisticsStore
) -> nn.Module:
    """A compressed copy of the model. Raises as `compress_layers`."""
    changes = compress_layers(model, policy, layers, registry, statistics)
    # What is replaced is not copied first.
    memo: dict[int, object] = {id(model.get_submodule(fqn)): model.get_submodule(fqn) for fqn in changes.modules}
    memo |= {id(tensor): tensor.detach().clone() for tensor in loose(model)}
    copy = deepcopy(model, memo)
    install(copy, changes.modules, changes.attributes)
    return copy.eval()


def build_layers(model: nn.Module, policy: Policy, layers: Sequence[Layer], registry: Registry) -> Changes:
    """The modules of a policy with their shapes and dtypes but without weights. Raises as `compress_layers`."""

    def make(technique: Technique, group: Group, step: Step, _calibration: Calibration) -> Replacement:
        with untouched(group.modules.values(), f"{step.label()} on {group.layer.fqn!r}"):
            return technique.build(group, step.params)

    return _walk(model, policy, layers, registry, make, {})


def build_policy_(model: nn.Module, policy: Policy, layers: Sequence[Layer], registry: Registry) -> None:
    """Give the model, in place, the structure that a policy has, without weights; meta devices are fine.

    Raises PolicyError when the policy does not fit.
    """
    changes = build_layers(model, policy, layers, registry)
    install(model, changes.modules, changes.attributes)


def check_policy(policy: Policy, layers: Iterable[Layer], registry: Registry) -> None:
    """Refuse a policy that names layers which the model does not have, or techniques that are not installed."""
    known = {layer.fqn: layer for layer in layers}
    strangers = [fqn for fqn in policy.layers if fqn not in known]
    if strangers:
        shown = ", ".join(map(repr, strangers[:3])) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        close = near_misses(strangers[0], known)
        hint = f" Near misses: {', '.join(map(repr, close))}." if close else ""
        raise PolicyError(
            f"the policy is for another architecture: {len(strangers)} of its {len(policy.layers)} layers "
            f"are not in this model: {shown}.{hint}"
        )
    for fqn, layer_policy in policy.layers.items():
        stages = []
        for step in layer_policy.steps:
            technique = registry.technique(step.technique)
            if known[fqn].kind not in technique.kinds:
                raise PolicyError(f"technique {step.technique!r} does not apply to {known[fqn].kind} layer {fqn!r}.")
            stages.append(technique.stage)
        if stages != sorted(set(stages)):
            raise PolicyError(f"layer {fqn!r}: steps must follow the stages, one a stage; got {layer_policy.label()}.")


def _walk(
    model: nn.Module,
    policy: Policy,
    layers: Sequence[Layer],
    registry: Registry,
    make: Make,
    statistics: StatisticsStore,
) -> Changes:
    check_policy(policy, layers, registry)
    changes, seen = Changes(), _over(statistics)
    chosen = [layer for layer in layers if layer.fqn in policy.layers]
    steps = [
        (registry.technique(step.technique), layer, step) for layer in chosen for step in policy.layers[layer.fqn].steps
    ]
    for technique, layer, step in sorted(steps, key=lambda item: item[0].stage):
        modules = {role: _current(model, changes, at.fqn) for role, at in layer.roles.items()}
        first = next(iter(modules.values()))
        if layer.kind == "linear" and not is_linear(first):
            fqn = next(iter(layer.roles.values())).fqn
            known = seen.get(fqn) if technique.needs_calibration else None
            changes.modules[fqn] = _inside(first, technique, layer, step, make, known)
            continue
        calibration = {}
        if technique.needs_calibration:
            calibration = {role: seen[at.fqn] for role, at in layer.roles.items() if at.fqn in seen}
        answer = _make(technique, Group(layer, modules), step, calibration, make)
        for role, module in answer.modules.items():
            for fqn in (layer.roles[role].fqn, *(layer.tied if layer.kind == "embedding" else ())):
                changes.modules[fqn] = module
        for role, kept in answer.kept.items():
            fqn = layer.roles[role].fqn
            if fqn in seen:
                seen[fqn] = seen[fqn].keep(kept)
        changes.attributes |= {path: answer.sizes[size] for path, size in layer.edits.items() if size in answer.sizes}
    return changes


def _over(statistics: StatisticsStore) -> MutableMapping[str, Statistics]:
    """A layer to write on above what was collected, which is not asked before somebody needs it."""
    below: Mapping[str, Statistics] = statistics
    return ChainMap({}, below)  # type: ignore[arg-type]  # only the first map is ever written to


def _inside(
    module: nn.Module, technique: Technique, layer: Layer, step: Step, make: Make, statistics: Statistics | None
) -> nn.Module:
    """Apply a technique to every linear inside what an earlier stage returned, in the order in which they run."""
    copy, at = deepcopy(module), statistics
    for name, linear in list(leaves(copy)):
        rows, columns = weight_of(linear).shape
        inner = replace(layer, roles={"linear": Role(name, 0, rows)}, shapes={"linear": (rows, columns)})
        if at is not None and len(at.mean) != columns:
            at = None  # it does not run after the one before it; nothing is known about its input
        answer = _make(technique, Group(inner, {"linear": linear}), step, {} if at is None else {"linear": at}, make)
        at = None if at is None else push(at, linear)
        parent, _, child = name.rpartition(".")
        setattr(copy.get_submodule(parent), child, answer.modules["linear"])
    return copy


def _make(technique: Technique, group: Group, step: Step, calibration: Calibration, make: Make) -> Replacement:
    try:
        with ended_after(allowed(group.layer.n_params), f"{step.label()} on {group.layer.fqn!r}"):
            return make(technique, group, step, calibration)
    except TrialError as error:
        if type(error) is not TrialError or step.technique in str(error):
            raise
        raise TrialError(f"{step.label()} on {group.layer.fqn!r}: {error}") from error
    except (Exception, SystemExit) as error:  # a stranger's technique may raise anything: this point fails
        raise TrialError(f"{step.label()} on {group.layer.fqn!r}: {cause_of(error)}") from error


def _current(model: nn.Module, changes: Changes, fqn: str) -> nn.Module:
    return changes.modules[fqn] if fqn in changes.modules else model.get_submodule(fqn)
