"""`autocompress cache`: shows and deletes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autocompress.storage.cache import VARIABLE, open_cache


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    open_cache({"abc": "kernels on [cpu]", "def": "a model"})
    return tmp_path / "cache"


@pytest.mark.usefixtures("filled")
def test_shows_what_is_there(cli: Any) -> None:
    done = cli("cache")
    assert done.code == 0
    assert "kernels on [cpu]" in done.stdout
    assert "2 entries" in done.stdout
    listed = json.loads(cli("cache", "--json").stdout)
    assert {entry["name"] for entry in listed["entries"]} == {"abc", "def"}
    assert listed["deleted"] is False


def test_prunes_what_is_named(filled: Path, cli: Any) -> None:
    assert "deleted" in cli("cache", "abc", "--prune").stdout
    assert [path.stem for path in filled.iterdir()] == ["def"]
    wrong = cli("cache", "abc", "--prune")
    assert wrong.code == 2
    assert "the cache holds no 'abc'" in wrong.stderr
    assert cli("cache", "--unused", "soon").code == 2
    assert "0 entries" in cli("cache", "--unused", "24h").stdout
