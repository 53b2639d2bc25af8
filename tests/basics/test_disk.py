"""A full disk is one error of ours; what was on the disk before stays whole, and writing goes on once there is room."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from autocompress.artifact.tensors import write_tensors
from autocompress.basics.atomic import new_folder
from autocompress.basics.disk import full, told_when_full
from autocompress.errors import DiskFullError
from autocompress.report.files import write_whole
from autocompress.storage.journal import journal_storage
from autocompress.storage.store import Store


@contextmanager
def room(size: int) -> Iterator[None]:
    """While it lasts no file may grow beyond ``size`` bytes: what writes more is told as on a full disk."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_value_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "values.jsonl")
    store.put("a", 1)
    before = store.path.read_bytes()
    with room(len(before) + 10), pytest.raises(DiskFullError, match=r"disk full: cannot write .*values\.jsonl"):
        store.put("b", "x" * 100)
    assert store.path.read_bytes() == before
    assert "b" not in store
    store.put("b", 2)
    assert [json.loads(line)["key"] for line in store.path.read_text().splitlines()] == ["a", "b"]
    assert len(Store(store.path)) == 2


def test_a_full_cache_does_not_end_a_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Store(tmp_path / "cache.jsonl")
    cache.put("about", "y" * 300)
    store = Store(tmp_path / "run.jsonl", {"ctx": cache})
    with room(350), caplog.at_level(logging.WARNING):
        assert store.memo("cost/ctx/1", lambda: 7) == 7
        assert store.memo("cost/ctx/2", lambda: 8) == 8
    assert "cost/ctx/2" in store
    assert caplog.text.count("the cache is not written any more") == 1
    assert len(Store(cache.path)) == 1 + ("cost/ctx/1" in cache)


def test_the_journal_of_trials_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=journal_storage(path), study_name="s")
    with room(path.stat().st_size + 20), pytest.raises(DiskFullError), told_when_full(path):
        study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    again = optuna.load_study(storage=journal_storage(path), study_name="s")
    trial = again.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    again.tell(trial, 1.0)
    assert optuna.load_study(storage=journal_storage(path), study_name="s").best_value == 1.0


@pytest.mark.parametrize("what", ["weights", "text"])
def test_an_artifact_that_does_not_fit_does_not_appear(tmp_path: Path, what: str) -> None:
    def save() -> None:
        with new_folder(tmp_path / "best", marker="m") as folder:
            if what == "weights":  # a library in Rust, whose error is no OSError
                write_tensors({"w": torch.zeros(1000)}, folder / "model.safetensors")
            else:
                (folder / "m").write_text("x" * 2000)

    with room(1000), pytest.raises(DiskFullError, match=r"disk full: .*best"):
        save()
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "front.csv", "old")
    with room(10), pytest.raises(DiskFullError), told_when_full(path):
        write_whole(path, "new" * 100)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_full_disk_is_called_one() -> None:
    assert full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == errno.ENOSPC
    assert full(RuntimeError("I/O error: No space left on device (os error 28)")) == errno.ENOSPC
    assert full(OSError(errno.EACCES, "denied")) == 0
    with pytest.raises(KeyError), told_when_full("x"):
        raise KeyError("x")


def test_a_run_folder_that_did_not_come_to_be_is_used_by_the_same_command(tmp_path: Path) -> None:
    from autocompress.storage.folder import RunFolder

    identity = {"model": "x" * 100}
    with room(50), pytest.raises(DiskFullError, match="disk full"):
        RunFolder(tmp_path / "run", identity)
    assert not list((tmp_path / "run").glob("*.tmp"))
    RunFolder(tmp_path / "run", identity).close()
