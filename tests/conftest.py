"""Fixtures for every folder: each tiny model family in turn, and repeatable random numbers."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
