"""A working copy of the model on which policies are set one after another; only what differs is exchanged."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy

from torch import nn

from autocompress.compress.apply import Changes, compress_layers
from autocompress.compress.statistics import StatisticsStore
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.plugin.registry import Registry
from autocompress.structure.modules import get_attribute, install, loose


class Workbench:
    """Sets policies on a copy that shares the dense model's weights; compressed modules are cached by content.

    Layers that touch the same modules form a *part* (a group and its linears). A part is compressed once per distinct
    policy of its layers, whatever the rest of the model does.

    most   the most bytes of compressed modules that are kept.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        registry: Registry,
        statistics: StatisticsStore,
        *,
        most: int = 2 * 2**30,
    ) -> None:
        self.dense = model
        self.model = share(model)
        self._layers, self._registry, self.statistics, self._most = layers, registry, statistics, most
        self._part = parts(layers)
        self._members: dict[str, list[Layer]] = {}
        for layer in layers:
            self._members.setdefault(self._part[layer.fqn], []).append(layer)
        self._set: dict[str, str] = {}
        self._cache: OrderedDict[str, Changes] = OrderedDict()

    def set(self, policy: Policy) -> nn.Module:
        """The working copy with exactly this policy. Raises as `compress_layers`; the copy is then still whole."""
        by_part: dict[str, dict[str, LayerPolicy]] = {}
        for fqn, layer_policy in policy.layers.items():
            if layer_policy.steps:
                by_part.setdefault(self._part.get(fqn, fqn), {})[fqn] = layer_policy
        wanted = {part: self._compress(part, Policy(layers)) for part, layers in by_part.items()}
        for part in [part for part, key in self._set.items() if wanted.get(part, ("", None))[0] != key]:
            self._restore(part)
        for part, (key, changes) in wanted.items():
            if self._set.get(part) != key:
                install(self.model, changes.modules, changes.attributes)
                self._set[part] = key
        return self.model

    def _compress(self, part: str, policy: Policy) -> tuple[str, Changes]:
        key = part + hashlib.sha256(json.dumps(policy.to_json(), sort_keys=True).encode()).hexdigest()
        if key not in self._cache:
            members = self._members.get(part, self._layers)
            self._cache[key] = compress_layers(self.dense, policy, members, self._registry, self.statistics)
            while len(self._cache) > 1 and sum(_bytes(changes) for changes in self._cache.values()) > self._most:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return key, self._cache[key]

    def _restore(self, part: str) -> None:
        """Put back what is dense, in every place that any policy of this part may have changed."""
        modules: dict[str, nn.Module] = {}
        attributes: dict[str, int] = {}
        for layer in self._members[part]:
            names = (*layer.modules, *(layer.tied if layer.kind == "embedding" else ()))
            modules |= {fqn: self.dense.get_submodule(fqn) for fqn in names if layer.kind != "block"}
            attributes |= {path: get_attribute(self.dense, path) for path in layer.edits}
        install(self.model, modules, attributes)
        del self._set[part]


def share(model: nn.Module) -> nn.Module:
    """A copy of the module tree that shares every weight with the original."""
    tensors = [*model.parameters(), *model.buffers(), *loose(model)]
    return deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def parts(layers: Sequence[Layer]) -> dict[str, str]:
    """Layer name to the name of its part: layers are joined when they touch a common module."""
    parent = {layer.fqn: layer.fqn for layer in layers}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first_of: dict[str, str] = {}
    for layer in layers:
        if layer.kind == "block":
            continue
        for module in layer.modules:
            known = first_of.setdefault(module, layer.fqn)
            parent[find(layer.fqn)] = find(known)
    return {layer.fqn: find(layer.fqn) for layer in layers}


def _bytes(changes: Changes) -> int:
    return sum(t.nbytes for module in changes.modules.values() for t in (*module.parameters(), *module.buffers()))
