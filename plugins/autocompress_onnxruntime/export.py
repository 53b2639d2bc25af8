"""From a torch module to an ONNX file: any rows and lengths, quantised linears as the runtime's own operators."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.plugin import Quantized, TrialError, installed, tensors
from autocompress_onnxruntime.int8 import Int8Product
from autocompress_onnxruntime.outputs import form_of

FORM = "autocompress.outputs"
"""Under this name the file holds the form of the model's outputs."""
OPSET = 17


class _Flat(nn.Module):
    """A module that takes tensors in a row and gives tensors in a row, as a graph does."""

    def __init__(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.module, self.args, self.kwargs = module, tuple(args), dict(kwargs)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors(self.call(given)))

    def call(self, given: Sequence[Tensor]) -> Any:
        left = iter(given)
        args = [next(left) if isinstance(one, Tensor) else one for one in self.args]
        kwargs = {name: next(left) if isinstance(one, Tensor) else one for name, one in self.kwargs.items()}
        return self.module(*args, **kwargs)


def export(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Write a module as ONNX, as it runs on this call but for any rows and lengths; gives its inputs by name.

    Tensors are inputs under their keyword, or ``at0``, ``at1``, ...; everything else stays what it is in this call. The
    module is as before afterwards. Raises TrialError when it cannot be written.
    """
    import onnx

    named = {**{f"at{i}": one for i, one in enumerate(args)}, **kwargs}
    inputs = {name: one for name, one in named.items() if isinstance(one, Tensor)}
    flat = _Flat(module, args, kwargs).eval()
    own = {
        name: Int8Product(inner.quantized()).eval()
        for name, inner in flat.named_modules()
        if isinstance(inner, Quantized)
    }
    axes = {name: {axis: f"axis{axis}" for axis in range(min(2, one.ndim))} for name, one in inputs.items()}
    with installed(flat, own, {}), torch.no_grad(), _quiet():
        form = form_of(flat.call(list(inputs.values())))
        try:
            torch.onnx.export(
                flat,
                tuple(inputs.values()),
                str(path),
                dynamo=False,  # ten times as fast as the exporter that captures a graph first
                opset_version=OPSET,
                input_names=list(inputs),
                dynamic_axes=axes,
            )
        except (RuntimeError, ValueError, TypeError) as error:
            raise TrialError(f"it cannot be written as ONNX ({type(error).__name__}: {str(error)[:200]})") from error
    model = onnx.load(str(path), load_external_data=False)
    model.metadata_props.add(key=FORM, value=json.dumps(form))
    onnx.save(model, str(path))
    return inputs


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of every Python value that it keeps, the exporter of its own age."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exporter.setLevel(logging.ERROR)
        try:
            yield
        finally:
            exporter.setLevel(level)
