"""One row of `make coverage`: ``python -m tests.benchmarks.coverage_row NAME`` answers with a line of JSON.

Groups are found; every slot of the space is compressed at once and saved; a tiny search is run under a budget of bytes
and saved; both artifacts are loaded in a fresh process, both ways.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import autocompress as ac
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.errors import AutocompressError
from autocompress.estimate import latency as cost
from autocompress.measure.latency import time_interleaved
from autocompress.measure.machine import detect_target
from autocompress.pipeline import trials
from autocompress.pipeline.reach import out_of_reach_line
from autocompress.plugin.registry import load_registry
from autocompress.sessions.parent import run_session
from autocompress.space.binding import Binding, Slot, bind
from autocompress.space.file import load_space
from autocompress.structure import call, find_layers, main_output
from tests.benchmarks.coverage_load import load_both_ways
from tests.families import ALL, SEQUENCE, Family, modules

ROWS, LEAST = 48, 0.03
SPACE = Path(__file__).with_name("coverage.toml")


def main() -> None:
    """Find, search, save and load one architecture; an error of ours is an answer, any other exception a fault."""
    logging.basicConfig(level=logging.ERROR)
    # The measuring process is not started in this folder, so it cannot import these classes.
    cloudpickle.register_pickle_by_value(modules)
    hasten()
    found: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            fill_(found, sys.argv[1], ALL[sys.argv[1]], Path(folder))
    except Exception as error:  # noqa: BLE001 - what is counted here is any exception that is not ours
        traceback.print_exc()
        found["fault"] = f"{type(error).__name__}: {_line(error)}"
    print(json.dumps(found))


def hasten() -> None:
    """Cut every timing short: the budget is one of bytes and the models are tiny, so no time taken here matters."""

    def briefly(calls: Mapping[str, Callable[[], object]], **options: Any) -> dict[str, list[float]]:
        return time_interleaved(calls, **{**options, "rounds": 9, "seconds": 0.02, "warmup": 0.0})

    cost.time_interleaved = trials.time_interleaved = briefly
    run_session.__kwdefaults__["seconds"] = 0.2


def fill_(found: dict[str, Any], name: str, family: Family, folder: Path) -> None:
    """Write the columns of the row, each as soon as it is known."""
    torch.manual_seed(0)
    model, inputs = family.build().eval().requires_grad_(False), family.inputs(2)
    options: dict[str, Any] = {"data": family.inputs(ROWS), "task": family.task, "sequence": SEQUENCE, "threads": 1}
    artifacts: dict[Path, Tensor] = {}
    try:
        layers = find_layers(model, inputs, [family.inputs(ROWS)])
        found |= {kind: _count(layers, kind) for kind in ("ffn", "attention")}
        found["notes"] = notes_of(layers)
        slots = _slots(layers)
        found["notes"].append(out_of_reach_line(model, Binding(slots, {})))
        found["reach"] = reach = share_in_reach(model, slots)
        budget = f"size={100 * (1 - min(LEAST, 0.3 * reach)):.2f}%"
        result = ac.search(model, budget, **options, space=str(SPACE), trials=3, sessions=2, out=folder / "run")
        found["search"] = "verified" if result.kept else result.verdict_line()
        if result.best is not None:
            artifacts[result.best.path] = main_output(call(result.best.model, inputs))
        if slots:
            most = Policy({layer.fqn: slot.options[-1] for slot in slots for layer in slot.layers})
            saved = ac.apply(most, model, out=folder / "most", **options).path
            artifacts[saved] = main_output(call(ac.apply(most, model, **options), inputs))
    except AutocompressError as error:
        found["search"] = f"{found.get('search', 'refused')}: {_line(error)}"
    if artifacts:
        for path, output in artifacts.items():
            save_file({"expected": output.contiguous()}, f"{path}.safetensors")
        found |= load_both_ways(name, list(artifacts))


def _slots(layers: Sequence[Layer]) -> tuple[Slot, ...]:
    registry = load_registry()
    space = load_space(str(SPACE), registry.search_spaces)
    try:
        return bind(space, layers, registry, detect_target("cpu", threads=1)).slots
    except AutocompressError:
        return ()  # the search says why


def share_in_reach(model: nn.Module, slots: Sequence[Slot]) -> float:
    """The share of the parameters in modules for which the space has an option."""
    names = {fqn for slot in slots for layer in slot.layers for fqn in layer.modules}
    inside = {id(p): p.numel() for fqn in names for p in model.get_submodule(fqn).parameters()}
    return sum(inside.values()) / sum(p.numel() for p in model.parameters())


def notes_of(layers: Sequence[Layer]) -> list[str]:
    """Why groups have no change, each reason once with its count."""
    reasons = Counter((layer.kind, layer.note) for layer in layers if layer.kind in ("ffn", "attention") and layer.note)
    return [f"{count} {kind}: {note}" for (kind, note), count in reasons.items()]


def _count(layers: Sequence[Layer], kind: str) -> str:
    of_kind = [layer for layer in layers if layer.kind == kind]
    return f"{sum(not layer.note for layer in of_kind)}/{len(of_kind)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


if __name__ == "__main__":
    main()
