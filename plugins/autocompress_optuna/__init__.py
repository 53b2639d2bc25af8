"""Optuna's samplers, under short names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autocompress.plugin import hookimpl


@hookimpl
def autocompress_samplers() -> Mapping[str, Callable[[int, int], Any]]:
    from autocompress_optuna import samplers

    return {"tpe": samplers.tpe, "nsga2": samplers.nsga2, "random": samplers.random}
