"""Running a part of a model alone: a submodule on the inputs it had, or only what comes after a changed block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.core.layer import Layer
from autocompress.structure.nested import main_input, main_output, map_tensors, tensors
from autocompress.structure.snapshots import Snapshots, fresh, has_state, versions
from autocompress.structure.trace import call


@dataclass(frozen=True)
class Recorded:
    """What one submodule was called with, and what it returned, in one forward pass: in the last of its ``calls``.

    edits   whether the submodule changes what it is called with, in place, or may: an object with a state of its own.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    calls: int = 1
    edits: bool = False

    @property
    def input(self) -> Tensor | None:
        """The first tensor that it was called with."""
        return main_input(self.args, self.kwargs)

    def run(self, module: nn.Module) -> Any:
        """Call a module with the same inputs."""
        args, kwargs = (self.args, self.kwargs)
        if self.edits:
            args, kwargs = fresh(args), fresh(dict(kwargs))
        return module(*args, **kwargs)

    def error(self, module: nn.Module) -> float:
        """The relative squared error ``|y - y0|² / |y0|²`` of a module's main output on the same inputs."""
        before = main_output(self.output).float()
        after = main_output(self.run(module)).float()
        return float((after - before).square().sum() / before.square().sum().clamp_min(1e-20))


def record(model: nn.Module, names: Iterable[str], inputs: Mapping[str, Tensor]) -> dict[str, Recorded]:
    """Run the model once and keep inputs and outputs of the named submodules ("" is the model itself).

    Kept is what they were at the call, whatever the model changes in place later. A submodule that is not called, or
    with no rows (an expert that nothing is sent to), is left out.
    """
    found: dict[str, Recorded] = {}
    keep = Snapshots()
    begun: dict[str, list[tuple[Any, Any, list[int]]]] = {}

    def before(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kept = keep(args), keep(kwargs)
            begun.setdefault(name, []).append((*kept, versions((args, kwargs))))

        return hook

    def after(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            own, named, known = begun[name].pop()
            x = main_input(own, named)
            if x is None or x.numel():
                calls = found[name].calls if name in found else 0
                changed = versions((args, kwargs)) != known or has_state((args, kwargs))
                found[name] = Recorded(own, named, keep(output), calls + 1, changed)

        return hook

    handles = []
    for name in set(names):
        module = model.get_submodule(name)
        handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        handles.append(module.register_forward_hook(after(name), with_kwargs=True))
    try:
        # Not inference mode: its tensors do not count the changes made to them.
        with torch.inference_mode(False), torch.no_grad():
            call(model, {name: tensor.clone() for name, tensor in inputs.items()})
    finally:
        for handle in handles:
            handle.remove()
    return found


def record_first(
    model: nn.Module, names: Iterable[str], batches: Sequence[Mapping[str, Tensor]]
) -> dict[str, Recorded]:
    """Each of the named submodules in the first of several batches in which it is called.

    ``calls`` is how often it is called in the first batch: 0 for a submodule that only a later one calls.
    """
    found: dict[str, Recorded] = {}
    missing = set(names)
    for number, batch in enumerate(batches):
        if missing:
            more = record(model, missing, batch)
            found |= more if number == 0 else {name: replace(one, calls=0) for name, one in more.items()}
            missing -= more.keys()
    return found


class Suffix:
    """Runs a changed model from the change on: what comes before returns what it returned when dense.

    layers     the model's layers; blocks, and groups within a block, are what can be skipped.
    most       the most bytes of outputs that are kept; what is beyond it is computed.
    ``executed`` and ``possible`` count the linears that ran, and that a full forward pass would have run.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], batches: Sequence[Mapping[str, Tensor]], *, most: int
    ):
        linears = {layer.fqn: layer.order for layer in layers if layer.kind == "linear"}
        owners = {layer.owner for layer in layers if layer.kind in ("block", "attention", "ffn") and layer.owner}
        inside = {owner: [order for fqn, order in linears.items() if _within(fqn, owner)] for owner in owners}
        self._inside = {owner: orders for owner, orders in sorted(inside.items()) if orders}
        self._linears = len(linears)
        self._outputs: list[dict[str, Any]] = []
        self.executed = self.possible = 0
        kept = 0
        for batch in batches:
            recorded = record(model, self._inside, batch)
            outputs = {}
            for name, one in recorded.items():
                kept += sum(tensor.nbytes for tensor in tensors(one.output))
                if kept <= most and one.calls == 1 and not one.edits:
                    outputs[name] = one.output
            self._outputs.append(outputs)

    @contextmanager
    def from_layer(self, model: nn.Module, order: int, batch: int) -> Iterator[None]:
        """While the block runs, ``model`` (a changed copy) skips every part that ends before position ``order``."""
        stored = self._outputs[batch]
        ended = [name for name, orders in self._inside.items() if max(orders) < order and name in stored]
        skipped = [name for name in ended if not any(_within(name, other) for other in ended if other != name)]
        self.possible += self._linears
        self.executed += self._linears - sum(len(self._inside[name]) for name in skipped)
        modules = [model.get_submodule(name) for name in skipped]
        try:
            for name, module in zip(skipped, modules, strict=True):
                module.forward = _always(stored[name])
            yield
        finally:
            for module in modules:
                module.__dict__.pop("forward", None)


def _within(name: str, owner: str) -> bool:
    return name == owner or name.startswith(owner + ".")


def _always(output: Any) -> Any:
    def forward(*_args: Any, **_kwargs: Any) -> Any:
        # What comes next may change its input in place.
        return map_tensors(Tensor.clone, output)

    return forward
