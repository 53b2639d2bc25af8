"""Quantization with real kernels: int8 linears, int8 embedding rows, and half-precision linears."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Technique, hookimpl


@hookimpl
def autocompress_techniques() -> Iterable[Technique]:
    from autocompress_quantization.cast import Cast
    from autocompress_quantization.int8 import Int8
    from autocompress_quantization.int8_embedding import Int8EmbeddingRows

    return [Int8(), Int8EmbeddingRows(), Cast()]
