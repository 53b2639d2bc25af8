"""Run files: whole, readable by the usual libraries, and never half-written."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.core.policy import Policy
from autocompress.pipeline.result import SearchResult
from autocompress.report import write_run
from autocompress.report.files import write_whole

Finished = Callable[..., SearchResult]


def test_every_file_is_written_and_reads_back(finished: Finished, tmp_path: Path) -> None:
    result = finished()
    write_run(result, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "front.csv", "front.png", "layers.csv", "policy.json", "result.json", "trials.csv",
    ]  # fmt: skip
    assert Policy.load(tmp_path / "policy.json") == result.policy
    assert json.loads((tmp_path / "result.json").read_text())["test"]["quality"] == 0.9812
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_tables_hold_every_trial_with_interval_and_cause(finished: Finished, tmp_path: Path) -> None:
    result = finished()
    write_run(result, tmp_path)
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(24))
    first, failed = rows[0], rows[4]
    assert float(first["latency_low"]) < float(first["latency"]) < float(first["latency_high"])
    assert float(first["latency_predicted"]) > 0
    assert failed["state"] == "failed"
    assert failed["cause"].startswith("out of memory")
    assert failed["latency"] == ""
    with open(tmp_path / "front.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result.front)


def test_no_policy_no_policy_file(finished: Finished, tmp_path: Path) -> None:
    write_run(finished(policy=None, nearest=None, trials=(), front=(), verified={}, test={}), tmp_path)
    assert not (tmp_path / "policy.json").exists()
    assert (tmp_path / "front.png").exists()


def test_a_failed_write_keeps_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_whole(tmp_path / "front.csv", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["front.csv"]
    assert file.read_text() == "old"
