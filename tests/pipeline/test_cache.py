"""What one search measured serves the next; what cannot be told apart by content does not."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tiny
from autocompress_torch.eager import TorchRuntime

from autocompress.core.progress import silent
from autocompress.errors import RunError, UsageError
from autocompress.plugin.hooks import hookimpl
from autocompress.request.keys import Contexts, contexts_of
from autocompress.request.request import SearchRequest
from autocompress.request.setup import check_names, set_up
from autocompress.storage import cache
from autocompress.storage.store import Store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def _values(out: Path) -> dict[str, object]:
    lines = map(json.loads, (out / "measurements.jsonl").read_text().splitlines())
    return {line["key"]: line["value"] for line in lines}


@pytest.mark.usefixtures("folder")
def test_a_second_search_measures_nothing_that_the_first_did(tmp_path: Path) -> None:
    first = tiny.run(str(tmp_path / "one"), "size=80%")
    tiny.run(str(tmp_path / "two"), "size=60%")
    one, two = _values(tmp_path / "one"), _values(tmp_path / "two")
    kinds = ("kernel", "structure", "shares", "cheap", "probe")
    known = {key: value for key, value in one.items() if key.startswith(kinds)}
    assert {key.partition("/")[0] for key in known} == set(kinds)
    assert known == {key: value for key, value in two.items() if key.startswith(kinds)}
    common = [key for key in one.keys() & two.keys() if key.startswith("trial")]
    assert all(one[key] == two[key] for key in common)
    assert first.seconds["outside"] < first.seconds["whole"]
    assert {entry.about.partition(" ")[0] for entry in cache.entries()} == {"kernels", "BertModel", "BertModel:"}


def test_verification_is_never_taken_from_another_search(folder: Path, tmp_path: Path) -> None:
    tiny.run(str(tmp_path / "one"), "size=80%", trials=1)
    shared = {json.loads(line)["key"] for path in folder.iterdir() for line in path.read_text().splitlines()}
    assert not any(key.startswith(("session", "selection", "test")) for key in shared)


def _contexts(**more: Any) -> Contexts:
    request = SearchRequest(
        model=tiny.model(), budgets=("50%",), data=tiny.data(), task="embedding", sequence=16, threads=1, **more
    )
    return contexts_of(set_up(request, check_names(request), silent))


def _one(_run: object, _batches: object) -> float:
    return 1.0


def test_what_depends_on_a_function_is_not_shared() -> None:
    plain = _contexts()
    own = _contexts(evaluator=_one)
    assert plain.shared.keys() == {plain.kernels, plain.model, plain.quality, plain.trials}
    assert own.shared.keys() == {plain.kernels, plain.model}


def test_another_version_of_the_runtime_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _contexts()
    monkeypatch.setattr(TorchRuntime, "key", lambda self: {"name": self.name, "torch": "another"})
    assert not plain.shared.keys() & _contexts().shared.keys()


def test_a_plugin_without_source_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class Made:\n    @hookimpl\n    def autocompress_search_spaces(self):\n        return []\n"
    module = types.ModuleType("made_in_a_session")
    exec(source, {"hookimpl": hookimpl, "__name__": module.__name__}, made := {})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert _contexts(plugins=(made["Made"](),)).shared == {}


def test_stores_share_by_context(tmp_path: Path) -> None:
    shared = Store(tmp_path / "shared.jsonl")
    one = Store(tmp_path / "one.jsonl", {"abc": shared})
    assert one.memo("kernel/abc/x", lambda: 1) == 1
    assert one.memo("session/xyz/0", lambda: 2) == 2
    two = Store(tmp_path / "two.jsonl", {"abc": Store(tmp_path / "shared.jsonl")})
    assert two.memo("kernel/abc/x", lambda: 3) == 1
    assert two.memo("session/xyz/0", lambda: 4) == 4
    assert (two.measured, two.reused) == (1, 1)
    assert two.renew("kernel/abc/x", lambda: 5) == 5
    assert Store(tmp_path / "shared.jsonl").get("kernel/abc/x") == 5


def test_a_damaged_cache_is_not_used_and_a_damaged_run_folder_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / "abc.jsonl").write_text("not json\n")
    assert cache.open_cache({"abc": "words"}) == {}
    assert "line 1 is damaged" in caplog.text
    assert [entry.about for entry in cache.entries()] == ["unreadable"]
    with pytest.raises(RunError, match=r"line 1 is damaged .*; delete that line"):
        Store(folder / "abc.jsonl")


@pytest.mark.usefixtures("folder")
def test_prune_by_name_and_by_age() -> None:
    opened = cache.open_cache({"abc": "one", "def": "two"})
    opened["abc"].put("kernel/abc/x", 1)
    assert cache.entries(unused=3600.0) == []
    with pytest.raises(UsageError, match=r"the cache holds no 'xyz'"):
        cache.entries(["xyz"])
    cache.prune(cache.entries(["abc"]))
    assert [entry.about for entry in cache.entries()] == ["two"]
    cache.prune(cache.entries())
    assert cache.entries() == []


def test_off_by_an_empty_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    assert cache.cache_folder() is None
    assert cache.open_cache({"abc": "one"}) == {}
    assert cache.entries() == []
