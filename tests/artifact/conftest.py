"""Fixtures for artifacts: the installed plugins, and compressed tiny models on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import Made, build

from autocompress.artifact import Record
from autocompress.plugin.registry import Registry, load_registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def make(tmp_path: Path, registry: Registry) -> Callable[..., Made]:
    def made(kind: str, *, record: Record | None = None) -> Made:
        return build(kind, tmp_path / "best", registry, record)

    return made
