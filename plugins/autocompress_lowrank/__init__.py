"""Low-rank factorisation of linears, whitened by the calibration statistics."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Technique, hookimpl


@hookimpl
def autocompress_techniques() -> Iterable[Technique]:
    from autocompress_lowrank.svd import Svd

    return [Svd()]
