"""An option is proven where its layer stands: its structure runs inside the module that calls the layer.

The module around a layer may read its weights itself, call it by a name, or take its answer apart; that an option works
alone says nothing about it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autocompress.compress import build_layers, parts
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.errors import TrialError, cause_of
from autocompress.estimate.latency import fill_
from autocompress.plugin.registry import Registry
from autocompress.space.binding import Binding, Slot
from autocompress.structure import Recorded, nearest, record_first, running
from autocompress.structure.modules import installed
from autocompress.structure.nested import float_tensors

logger = logging.getLogger(__name__)
Techniques = tuple[str, ...]


class Inside:
    """Calls the module around a layer as the model calls it, with the layer's option in place and nothing else.

    batches   the model's inputs; each module is called as in the first of them on which it runs.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        registry: Registry,
        batches: Sequence[Mapping[str, Tensor]],
    ) -> None:
        self._model, self._registry = model, registry
        part = parts(layers)
        self._members = {layer.fqn: [one for one in layers if part[one.fqn] == part[layer.fqn]] for layer in layers}
        single = {layer.fqn for layer in layers if layer.kind not in ("ffn", "attention", "block")}
        called: set[str] = set()
        for batch in batches:
            if single - called:
                called |= running(model, batch, {name for name, _ in model.named_modules()})
        # A group's owner calls its roles; what calls the owner is looked at too.
        self._around = {layer.fqn: nearest(layer.owner.rpartition(".")[0], called) for layer in layers}
        self._recorded = record_first(model, set(self._around.values()), batches)

    def cause(self, layer: Layer, option: LayerPolicy) -> str:
        """Why an option does not run there, or "" when it does."""
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


def proven_inside(inside: Inside, binding: Binding) -> tuple[Binding, dict[str, str]]:
    """The binding without options that do not run where their layers stand, and those with their causes.

    One option of each combination of techniques speaks for the others of it.
    """
    slots: list[Slot] = []
    failed: dict[str, str] = {}
    for slot in binding.slots:
        # Layers of one slot whose options fail differently choose apart from then on.
        groups: dict[frozenset[Techniques], list[Layer]] = {}
        for layer in slot.layers:
            causes = {
                techniques: cause
                for techniques, option in _one_each(slot.options).items()
                if (cause := inside.cause(layer, option))
            }
            failed |= {f"{'+'.join(techniques)} on {layer.fqn}": cause for techniques, cause in causes.items()}
            groups.setdefault(frozenset(causes), []).append(layer)
        for bad, layers in groups.items():
            options = tuple(option for option in slot.options if _techniques(option) not in bad)
            name = slot.name if len(layers) == len(slot.layers) else layers[0].fqn
            if len(options) > 1:
                slots.append(Slot(name, tuple(layers), options))
    return Binding(tuple(slots), {**binding.dropped, **failed}), failed


def _one_each(options: Sequence[LayerPolicy]) -> dict[Techniques, LayerPolicy]:
    found: dict[Techniques, LayerPolicy] = {}
    for option in options:
        if option.steps:
            found.setdefault(_techniques(option), option)
    return found


def _techniques(option: LayerPolicy) -> Techniques:
    return tuple(step.technique for step in option.steps)


def _compare(recorded: Recorded, module: nn.Module) -> None:
    """Raises TrialError when a module's answer has another form than the recorded one."""
    before, after = float_tensors(recorded.output), float_tensors(recorded.run(module))
    forms = [{name: (tuple(one.shape), one.dtype) for name, one in found.items()} for found in (before, after)]
    if forms[0] != forms[1]:
        raise TrialError(f"it changes what the module around it returns from {_words(forms[0])} to {_words(forms[1])}")


def _words(form: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{shape} {dtype}" for shape, dtype in form.values()) or "nothing"
