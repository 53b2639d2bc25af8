"""Traces on as many inputs as it takes to see every layer run: some run on some inputs only."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autocompress.errors import ModelError
from autocompress.structure.trace import Trace, call, is_layer, trace

logger = logging.getLogger(__name__)
ROWS = 2
"""Rows of a trace of one more batch: its graph is kept."""


def trace_all(
    model: nn.Module, example: Mapping[str, Tensor], batches: Sequence[Mapping[str, Tensor]]
) -> list[tuple[Mapping[str, Tensor], Trace]]:
    """A trace of ``example``, and one of each piece of ``batches`` on which a layer runs that did not run before.

    Raises ModelError when the model does not run, or changes what it is given.
    """
    _refuse_changes(model, example)
    traces = [(example, trace(model, example))]
    names = {name for name, module in model.named_modules() if is_layer(module)}
    missing = names - set(traces[0][1].order)
    for batch in batches:
        if missing & running(model, batch, missing):
            for piece in _pieces(batch):
                if missing & running(model, piece, missing):
                    traces.append((piece, trace(model, piece)))
                    missing -= set(traces[-1][1].order)
    return traces


def running(model: nn.Module, inputs: Mapping[str, Tensor], names: set[str]) -> set[str]:
    """Which of the named submodules are called, with at least one row."""
    found: set[str] = set()

    def hook(name: str) -> object:
        def called(_module: nn.Module, args: tuple[object, ...]) -> None:
            if not (args and isinstance(args[0], Tensor) and not args[0].numel()):
                found.add(name)

        return called

    handles = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]  # type: ignore[arg-type]
    try:
        with torch.no_grad():  # not inference mode: what a class keeps of a call (BEiT) serves later ones
            call(model, {name: tensor.clone() for name, tensor in inputs.items()})
    finally:
        for handle in handles:
            handle.remove()
    return found


def _pieces(batch: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    rows = len(next(iter(batch.values())))
    return [{name: tensor[at : at + ROWS] for name, tensor in batch.items()} for at in range(0, rows, ROWS)]


def _refuse_changes(model: nn.Module, example: Mapping[str, Tensor]) -> None:
    """Refuse a model that changes its input: no two calls of it would be the same."""
    given = {name: tensor.clone() for name, tensor in example.items()}
    try:
        with torch.no_grad():  # not inference mode: what a class keeps of a call (BEiT) serves later ones
            call(model, given)
    except Exception:  # the trace tells what is wrong
        logger.debug("the model does not run on a copy of its example", exc_info=True)
        return
    for name, tensor in given.items():
        if not torch.equal(tensor, example[name]):
            raise ModelError(
                f"the model changes its input {name!r} in place, so no two calls of it would be the same; "
                f"let its forward begin with {name} = {name}.clone()."
            )
