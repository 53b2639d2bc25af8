"""The ONNX Runtime: models as ONNX graphs, with its own int8 kernels."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Runtime, hookimpl


@hookimpl
def autocompress_runtimes() -> Iterable[Runtime]:
    from autocompress_onnxruntime.runtime import OnnxRuntime

    return [OnnxRuntime()]
