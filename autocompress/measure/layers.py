"""Seconds of single modules where they stand, inside a model that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from autocompress.measure.latency import Call


@contextmanager
def stopwatch(
    model: nn.Module, groups: Mapping[str, Sequence[str]], device: str = "cpu"
) -> Iterator[Callable[[Call], dict[str, float]]]:
    """While the block runs, the function given calls the model and returns the seconds of every group of its modules.

    Modules of a group must not be inside one another. A group of which no module ran is left out: a runtime with
    kernels of its own does not call the model's modules. On a GPU every module is waited for, which costs a launch.
    """
    ticks: dict[str, float] = {}
    group_of = {name: group for group, names in groups.items() for name in names}
    begun: dict[str, float] = {}

    def before(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any) -> None:
            begun[name] = _now(device)

        return hook

    def after(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, _output: Any) -> None:
            group = group_of[name]
            ticks[group] = ticks.get(group, 0.0) + _now(device) - begun[name]

        return hook

    handles = []
    for name in group_of:
        module = model.get_submodule(name)
        handles += [module.register_forward_pre_hook(before(name)), module.register_forward_hook(after(name))]

    def run(call: Call) -> dict[str, float]:
        ticks.clear()
        call()
        return dict(ticks)

    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()


def _now(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()
