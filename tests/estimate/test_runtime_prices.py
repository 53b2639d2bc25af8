"""Options are priced in the runtime that will run them, by what it says runs a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
from autocompress_torch.eager import TorchRuntime
from torch import Tensor, nn

from autocompress.contracts.runtime import Runtime
from autocompress.core.progress import silent
from autocompress.core.target import Target
from autocompress.pipeline.plan import bind_space, make_plan
from autocompress.plugin.hooks import hookimpl
from autocompress.request.keys import contexts_of
from autocompress.request.names import check_names
from autocompress.request.request import SearchRequest
from autocompress.request.setup import set_up
from autocompress.storage.store import Store

ASKED: list[str] = []


class Own(TorchRuntime):
    """Eager torch that says itself what runs a module, and writes down what it was asked for."""

    name: ClassVar[str] = "own"

    def time_module(
        self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, target: Target
    ) -> Callable[[], object] | None:
        ASKED.append(f"{type(module).__name__} in {target.runtime}")
        copy = deepcopy(module)
        return lambda: copy(*args, **kwargs)


class Plugin:
    @hookimpl
    def autocompress_runtimes(self) -> Iterable[Runtime]:
        return [Own()]


class Feed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


def test_options_and_shares_are_timed_in_the_runtime(tmp_path: Path) -> None:
    ASKED.clear()
    rows = torch.randn(48, 8, 32, generator=torch.Generator().manual_seed(0))
    request = SearchRequest(
        model=Feed().eval().requires_grad_(False), budgets=("size=90%",), data={"x": rows}, task="other",
        space="full", threads=1, sequence=8, runtime="own", plugins=(Plugin(),),
    )  # fmt: skip
    setup = set_up(request, check_names(request), silent)
    binding = bind_space(setup, silent)
    plan = make_plan(setup, binding, Store(tmp_path / "m.jsonl"), contexts_of(setup), 1e-3, silent)
    assert {"Feed in own", "Linear in own"} <= set(ASKED)
    options = next(len(slot.options) for slot in binding.slots if slot.structural)
    assert ASKED.count("Feed in own") == options + 1, "each structure once, and the dense owner for its share"
    assert all(option.costs["latency"] > 0 for unit in plan.table.units for option in unit.options)
