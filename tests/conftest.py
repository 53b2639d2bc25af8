"""Fixtures for every folder: each tiny model family in turn, and repeatable random numbers."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
