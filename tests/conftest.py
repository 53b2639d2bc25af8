"""Fixtures for every folder: each tiny model family in turn, and repeatable random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from families import FAMILIES, Family


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Each family in turn."""
    return FAMILIES[request.param]


@pytest.fixture
def bert() -> Family:
    return FAMILIES["bert"]


@pytest.fixture(autouse=True, scope="session")
def _no_cache() -> Iterator[None]:
    """Tests measure for themselves, in child processes too; those of the cache set one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOCOMPRESS_CACHE", "")
        yield


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every timing of this process is cut short: for searches whose budget no clock decides."""
    from autocompress.estimate import latency
    from autocompress.measure.latency import time_interleaved
    from autocompress.pipeline import trials
    from autocompress.sessions import run_session

    def briefly(calls: Mapping[str, Callable[[], object]], **options: Any) -> dict[str, list[float]]:
        return time_interleaved(calls, **{**options, "rounds": 9, "seconds": 0.02, "warmup": 0.0})

    monkeypatch.setattr(latency, "time_interleaved", briefly)
    monkeypatch.setattr(trials, "time_interleaved", briefly)
    monkeypatch.setitem(run_session.__kwdefaults__, "seconds", 0.2)


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
