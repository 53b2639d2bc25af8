"""One row of `make coverage`: ``python -m tests.benchmarks.coverage_row NAME`` answers with a line of JSON.

With a folder as well, ``... NAME FOLDER`` loads the artifact there in this fresh process, both ways.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from safetensors.torch import save_file
from torch import nn

import autocompress as ac
from autocompress.errors import AutocompressError
from autocompress.layer import Layer
from autocompress.measure.machine import detect_target
from autocompress.plugins import load_registry
from autocompress.space import bind
from autocompress.space_file import load_space
from autocompress.structure import call, find_layers, main_output
from tests.benchmarks.coverage_load import load_both_ways
from tests.families import ALL, SEQUENCE, Family, modules

ROWS, LEAST = 48, 0.03
SPACE = "full"


def main() -> None:
    """Find, search, save and load one architecture; an error of ours is an answer, any other exception a fault."""
    logging.basicConfig(level=logging.ERROR)
    # The measuring process is not started in this folder, so it cannot import these classes.
    cloudpickle.register_pickle_by_value(modules)
    found: dict[str, Any] = {}
    try:
        fill_(found, sys.argv[1], ALL[sys.argv[1]])
    except Exception as error:  # noqa: BLE001 - what is counted here is any exception that is not ours
        found["fault"] = f"{type(error).__name__}: {_line(error)}"
    print(json.dumps(found))


def build(family: Family) -> nn.Module:
    """The dense model, the same in every process."""
    torch.manual_seed(0)
    return family.build().eval().requires_grad_(False)


def fill_(found: dict[str, Any], name: str, family: Family) -> None:
    """Write the columns of the row, each as soon as it is known."""
    model, inputs = build(family), family.inputs(2)
    try:
        layers = find_layers(model, inputs)
        found |= {kind: _count(layers, kind) for kind in ("ffn", "attention")}
        found["notes"] = notes_of(layers)
        found["reach"] = reach = share_in_reach(model, layers)
        least = min(LEAST, 0.3 * reach)
        with tempfile.TemporaryDirectory() as folder:
            result = ac.search(
                model, f"size={100 * (1 - least):.2f}%", data=family.inputs(ROWS), task=family.task, space=SPACE,
                sequence=SEQUENCE, threads=1, trials=3, sessions=2, out=Path(folder) / "run",
            )  # fmt: skip
            if result.best is None:
                found["search"] = result.verdict_line()
                return
            found["search"] = "verified"
            measured = main_output(call(result.best.model, inputs)).contiguous()
            save_file({"measured": measured}, Path(folder) / "measured.safetensors")
            found |= load_both_ways(name, result.best.path, Path(folder) / "measured.safetensors")
    except AutocompressError as error:
        found["search"] = f"refused: {_line(error)}"


def share_in_reach(model: nn.Module, layers: Sequence[Layer]) -> float:
    """The share of the parameters in modules for which the space has an option."""
    registry = load_registry()
    try:
        slots = bind(load_space(SPACE, registry.search_spaces), layers, registry, detect_target("cpu", threads=1)).slots
    except AutocompressError:
        return 0.0
    names = {fqn for slot in slots for layer in slot.layers for fqn in layer.modules if layer.kind != "block"}
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
