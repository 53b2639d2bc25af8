"""Every shipped space keeps a budget that its options can reach, on latency, on memory and on size.

What can be reached is taken from the tables of the machine that the test runs on: no CPU's strengths are assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

import autocompress as ac
from autocompress.core.progress import silent
from autocompress.engine.model import Model
from autocompress.estimate import latency
from autocompress.measure.latency import time_interleaved
from autocompress.pipeline.custom import price_objectives
from autocompress.pipeline.plan import bind_space, dense_figures, make_plan
from autocompress.pipeline.problem import make_problem
from autocompress.plugin.registry import load_registry
from autocompress.request.keys import contexts_of
from autocompress.request.names import check_names
from autocompress.request.request import SearchRequest
from autocompress.request.setup import set_up
from autocompress.storage.cache import open_cache
from autocompress.storage.store import Store

SEQUENCE, ROWS = 64, 64
WORTH = 0.08
"""A saving below this share of the dense model is too near to noise for a budget."""
SPACES = sorted(path.stem for path in (Path(__file__).parents[2] / "search_spaces").glob("*.toml"))


def model() -> hf.BertModel:
    """Wide enough that a smaller linear is a faster one, and heavier than the code that loads it."""
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=4000, hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=1536
    )
    return hf.BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)


def data() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 4000, (ROWS, SEQUENCE), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reach was read from is what the search uses."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are timed for a quarter of the time: a fifth of the latency is asked for, which they can tell."""

    def coarse(calls: Mapping[str, Callable[[], object]], **options: Any) -> dict[str, list[float]]:
        return time_interleaved(calls, **{**options, "seconds": options["seconds"] / 4, "warmup": 0.02})

    monkeypatch.setattr(latency, "time_interleaved", coarse)


def reach(space: str, folder: Path) -> dict[str, float]:
    """Objective to the least share of the dense model that the options of a space add up to here."""
    request = SearchRequest(model=model(), budgets=("99%",), data=data(), space=space, **OPTIONS)
    setup = set_up(request, check_names(request), silent)
    binding, contexts = bind_space(setup, silent), contexts_of(setup)
    store = Store(folder / "reach.jsonl", open_cache(contexts.shared))
    figures = {"latency": 1.0, "latency.p95": 1.0, "memory": 1.0}
    dense = dense_figures(setup, store, contexts.quality, figures)
    plan = make_plan(setup, binding, store, contexts, dense.latency, silent, custom=price_objectives(setup, binding))
    found = Model(make_problem(plan.table, dense, setup.names.budgets, (), figures))
    return {
        "latency": found.reach("latency")[0] / dense.latency,
        "memory": found.reach("size")[0] / dense.bytes,
        "size": found.reach("size")[0] / dense.bytes,
    }


OPTIONS = {"task": "embedding", "sequence": SEQUENCE, "threads": 1, "trials": 8, "sessions": 2}


def asked(name: str, least: float) -> float:
    """The share of the dense model to save: half of what is reachable, where a verdict can find it.

    Memory holds code and copies of kernels, which save nothing: a quarter. Tables that were timed on a busy machine may
    promise any latency: a fifth of the dense model's is enough to ask.
    """
    reachable = 1 - least
    return {"memory": reachable / 4, "latency": min(reachable / 2, 0.2)}.get(name, reachable / 2)


@pytest.mark.parametrize("space", SPACES)
def test_each_space_keeps_what_its_options_reach(space: str, tmp_path: Path) -> None:
    assert space in load_registry().search_spaces
    least = reach(space, tmp_path)
    limits: dict[str, str] = {}
    for name, share in least.items():
        if 1 - share >= WORTH:
            limits[name] = f"{1 - asked(name, share):.1%}"
    assert {"memory", "size"} <= limits.keys(), least
    result = ac.search(
        model(), [f"{name}={limit}" for name, limit in limits.items()], data=data(), space=space,
        out=str(tmp_path / "run"), **OPTIONS,
    )  # fmt: skip
    states = {verdict.budget.name: verdict for verdict in result.verdicts}
    for name, share in least.items():
        if name not in limits:
            print(f"{space:12s} {name:8s} not reachable here: the fastest options save {1 - share:.1%}")
            continue
        verdict = states[name]
        print(
            f"{space:12s} {name:8s} least {share:6.1%}  budget {limits[name]:>6s}  "
            f"found {verdict.value / (verdict.limit or 1):6.1%} of it  {verdict.state}"
        )
    assert result.kept, result.verdict_line()
    assert set(states) == set(limits)
    if "latency" in limits:
        fastest = min(trial.predicted["latency"] for trial in result.trials if "latency" in trial.predicted)
        assert fastest < result.baseline["latency"].median, "the tables see what structure saves"
