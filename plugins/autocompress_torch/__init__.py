"""The eager PyTorch runtime."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Runtime, hookimpl


@hookimpl
def autocompress_runtimes() -> Iterable[Runtime]:
    from autocompress_torch.eager import TorchRuntime

    return [TorchRuntime()]
