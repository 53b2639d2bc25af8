"""An option is proven before it is priced: its structure runs inside the module that calls its layer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from autocompress.compress import build_layers, parts
from autocompress.cost import fill_
from autocompress.errors import TrialError, cause_of
from autocompress.layer import Layer
from autocompress.nested import float_tensors
from autocompress.plugins import Registry
from autocompress.policy import LayerPolicy, Policy
from autocompress.run.setup import Setup
from autocompress.structure import Recorded, nearest, record_first, running
from autocompress.structure.modules import installed

logger = logging.getLogger(__name__)


def prover(setup: Setup) -> Callable[[Layer, LayerPolicy], str]:
    """What `bind` asks of every layer and combination of techniques: the cause why it does not run, or ""."""
    batches = [setup.example, *setup.rows["calibration"]]
    return InPlace(setup.model, setup.layers, setup.registry, batches)


class InPlace:
    """Calls the module around a layer as the model calls it, with the layer's option in place and nothing else.

    The module around it may read the layer's weights itself, or call it by a name or with more than an input; that an
    option works alone says nothing about it.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        registry: Registry,
        batches: Sequence[Mapping[str, torch.Tensor]],
    ) -> None:
        self._model, self._registry = model, registry
        part = parts(layers)
        self._members = {layer.fqn: [one for one in layers if part[one.fqn] == part[layer.fqn]] for layer in layers}
        names = {name for name, _ in model.named_modules()}
        called: set[str] = set()
        for batch in batches:
            missing = {layer.fqn for layer in layers if layer.kind not in ("ffn", "attention", "block")} - called
            if missing:
                called |= running(model, batch, names)
        self._around = {layer.fqn: _around(layer, called) for layer in layers}
        self._recorded = record_first(model, set(self._around.values()), batches)

    def __call__(self, layer: Layer, option: LayerPolicy) -> str:
        around = self._around[layer.fqn]
        if around not in self._recorded:
            return "it runs neither on the timed example nor on a row of the calibration data"
        try:
            changes = build_layers(self._model, Policy({layer.fqn: option}), self._members[layer.fqn], self._registry)
            for module in changes.modules.values():
                fill_(module)
            with torch.inference_mode(), installed(self._model, changes.modules, changes.attributes):
                _compare(self._recorded[around], self._model.get_submodule(around))
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything: this option is not offered
            logger.debug("%s does not run in %s", option.label(), around, exc_info=True)
            return cause_of(error)
        return ""


def _around(layer: Layer, called: set[str]) -> str:
    """The module that calls a single layer or the owner of a group."""
    return nearest(layer.owner.rpartition(".")[0], called)


def _compare(recorded: Recorded, module: nn.Module) -> None:
    """Raises TrialError when a module's answer has another form than the recorded one."""
    before, after = float_tensors(recorded.output), float_tensors(recorded.run(module))
    forms = [{name: (tuple(one.shape), one.dtype) for name, one in found.items()} for found in (before, after)]
    if forms[0] != forms[1]:
        raise TrialError(f"it changes what the module around it returns from {_words(forms[0])} to {_words(forms[1])}")


def _words(form: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{shape} {dtype}" for shape, dtype in form.values())
