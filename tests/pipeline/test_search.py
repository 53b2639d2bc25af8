"""The whole search on a tiny model: kept, missed, resumed after every kind of kill."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import tiny
import torch

import autocompress as ac
from autocompress.artifact import load
from autocompress.errors import RunError
from autocompress.pipeline.result import SearchResult
from autocompress.structure import call, main_output

SCRIPT = Path(tiny.__file__)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """One search that keeps its budgets, with a custom objective that carries one of its own."""
    out = tmp_path_factory.mktemp("search") / "run"
    count = ac.Objective("parameters", function=lambda m: float(sum(p.numel() for p in m.parameters())), budget="1e9")
    return tiny.run(str(out), "latency=1000%", "size=90%", "quality=50%", objectives=[count])


def test_a_kept_budget_gives_a_verified_artifact(finished: SearchResult) -> None:
    assert finished.kept
    assert finished.exit_code == 0
    assert {verdict.budget.name for verdict in finished.verdicts} == {"latency", "size", "quality", "parameters"}
    assert all(verdict.state == "kept" for verdict in finished.verdicts)
    assert finished.verified["latency"].sessions >= 2
    assert "quality" in finished.test
    for name in ("front.csv", "front.png", "policy.json", "result.json", "best/model.safetensors"):
        assert (finished.out / name).is_file(), name
    assert not (finished.out / "candidates").exists()


def test_the_artifact_is_what_was_measured(finished: SearchResult) -> None:
    best = finished.best
    assert best is not None
    again = load(best.path, base=tiny.model())
    inputs = {name: tensor[:2] for name, tensor in tiny.data().items()}
    torch.testing.assert_close(main_output(call(again.model, inputs)), main_output(call(best.model, inputs)))
    applied = ac.apply(best.policy, tiny.model(), data=tiny.data(), task="embedding", sequence=tiny.SEQUENCE, threads=1)
    torch.testing.assert_close(main_output(call(applied, inputs)), main_output(call(best.model, inputs)))


def test_predictions_and_gaps_are_in_the_result_and_in_the_run_folder(finished: SearchResult) -> None:
    found = finished.accuracy
    assert {"table_mape", "mape", "sd", "claimed_sd", "covered", "additivity", "probe_share"} <= found.keys()
    assert 0 < found["probe_share"] < 1
    assert {"quality", "selection", "search"} <= finished.test.keys()
    assert 0 <= finished.seconds["outside"] <= finished.seconds["whole"]
    changed = {fqn for fqn, policy in finished.policy.layers.items() if policy.steps}
    assert changed, "this budget leaves room for compression"
    assert finished.layers
    for layer in finished.layers:
        assert layer.option != "dense"
        assert layer.measured is not None, "the eager runtime runs the model's own modules"
        assert layer.dense is not None
        assert layer.dense > 0
    with (finished.out / "layers.csv").open(newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == [layer.layer for layer in finished.layers]


def test_the_artifact_is_saved_elsewhere(finished: SearchResult, tmp_path: Path) -> None:
    assert finished.best is not None
    copy = load(finished.best.save(tmp_path / "copy"), base=tiny.model())
    assert copy.policy == finished.best.policy
    with pytest.raises(RunError, match="holds something else"):
        finished.best.save(Path(__file__).parent)


def test_results_are_tables_and_json(finished: SearchResult) -> None:
    table = finished.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert {"quality", "latency", "latency_predicted", "parameters", "feasible"} <= set(table.columns)
    assert json.loads(json.dumps(finished.to_json()))["kept"] is True
    assert finished.front
    assert all(trial.feasible for trial in finished.front)
    assert "sweep_hypervolume" in finished.sweep


def test_another_search_is_refused_in_the_same_folder(finished: SearchResult) -> None:
    with pytest.raises(RunError, match="belongs to another search: its budgets is"):
        tiny.run(str(finished.out), "latency=900%")


def test_a_budget_that_cannot_be_kept_names_the_nearest(tmp_path: Path) -> None:
    result = tiny.run(str(tmp_path / "run"), "1us")
    assert not result.kept
    assert result.exit_code == 3
    assert result.nearest is not None
    assert result.verdicts[0].state == "missed"
    assert result.verdicts[0].gap > 0
    assert not (tmp_path / "run" / "best").exists()
    assert (tmp_path / "run" / "policy.json").is_file()


def test_kill_in_every_stage_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    known: dict[str, str] = {}
    for stage, after in (("baseline", 0), ("cost", 3), ("sensitivity", 9), ("search", 4), ("verify", 3)):
        done = _run(out, stage, str(after))
        assert done.returncode == -9, f"not killed in {stage}: {done.stderr}"
        now = _measurements(out)
        assert known.items() <= now.items(), f"{stage}: something was measured again"
        known = now
    last = _run(out)
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["kept"]
    assert known.items() <= _measurements(out).items()
    again = json.loads(_run(out).stdout)
    assert again["trials"] == 8
    assert any(note.startswith("0 measurements made") for note in again["notes"]), again["notes"]


def _run(out: Path, *kill: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(out), "size=80%", *kill]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def _measurements(out: Path) -> dict[str, str]:
    """Key to line; a key that stands twice was measured twice."""
    path, found = out / "measurements.jsonl", {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.endswith("}"):
            key = json.loads(line)["key"]
            if key.startswith("begun/"):  # that a trial began is no measurement
                continue
            assert key not in found, f"{key} was measured twice"
            found[key] = line
    return found
