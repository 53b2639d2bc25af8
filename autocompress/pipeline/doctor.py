"""Faster here? Every option kind at the model's real shapes, timed on this machine against the dense layer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.core.layer import Layer
from autocompress.core.progress import Progress
from autocompress.estimate.latency import Cost, CostTable
from autocompress.estimate.pricing import Prices
from autocompress.pipeline.trials import weight_bytes
from autocompress.proof.inside import Inside, proven_inside
from autocompress.proof.proving import built
from autocompress.request.keys import contexts_of
from autocompress.request.request import SearchRequest
from autocompress.request.setup import check_names, set_up
from autocompress.space.binding import bind
from autocompress.storage.cache import open_cache
from autocompress.storage.store import Store


def faster_here(request: SearchRequest, progress: Progress) -> list[dict[str, Any]]:
    """One row per unique (kind, shape, option): speed-up with interval and bytes, or why it is not offered."""
    setup = set_up(request, check_names(request, budgets=False), progress)
    batches = [setup.example, *setup.rows["calibration"]]
    bound = built(setup, bind(setup.space, setup.layers, setup.registry, setup.target))
    binding, _ = proven_inside(Inside(setup.model, setup.layers, setup.registry, batches), bound)
    prices = Prices(setup.model, setup.layers, binding, setup.registry, batches, progress)
    contexts = contexts_of(setup)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "kernels.jsonl", open_cache(contexts.shared))
        weights = weight_bytes(setup.model)
        table = CostTable(
            setup.registry,
            setup.target,
            store.memo,
            contexts.kernels,
            contexts.model,
            weights,
            lambda: setup.program(setup.example),
        )
        prices.measure_costs(table, 1.0)
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for slot in prices.slots:
        for layer in slot.layers:
            costs = prices.costs_of(layer)
            for label, cost in costs.items():
                if label != "dense":
                    row = _row(layer, label, cost, costs["dense"])
                    rows.setdefault((row["kind"], row["shape"], label), row)
    return [*rows.values(), *_dropped({**binding.dropped, **prices.refused})]


def _row(layer: Layer, label: str, cost: Cost, dense: Cost) -> dict[str, Any]:
    shape = " ".join(f"{role} {' x '.join(map(str, shape))}" for role, shape in layer.shapes.items())
    return {
        "kind": layer.kind,
        "shape": shape if len(layer.shapes) > 1 else " x ".join(map(str, next(iter(layer.shapes.values())))),
        "option": label,
        "speedup": cost.speedup,
        "low": cost.low,
        "high": cost.high,
        "bytes": cost.bytes,
        "dense_bytes": dense.bytes,
        "unavailable": "",
    }


def _dropped(dropped: Mapping[str, str]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, reason in dropped.items():
        technique = name.partition(" on ")[0]
        rows.setdefault((technique, reason), {"kind": "", "shape": "", "option": technique, "unavailable": reason})
    return list(rows.values())
