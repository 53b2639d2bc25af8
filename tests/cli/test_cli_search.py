"""One real search through the command line, on a tiny model: its answer, its files, its folder, its artifact."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KEEPS = ("-b", "300%")
MISSES = ("-b", "0.0001ms")


@pytest.fixture(scope="session")
def asked(models: Path, texts: Path) -> tuple[str, ...]:
    """The arguments of every search here, but for budget and folder."""
    options = ("--data", texts, "--sequence", 16, "--threads", 1, "--trials", 4, "--sessions", 2, "--space", "prune")
    return tuple(map(str, ("search", models / "bert", *options)))


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, asked: tuple[str, ...], run_cli: Callable[..., Any]) -> Any:
    """A finished search that kept its budget: its streams, and its folder as ``folder / "run"``."""
    folder = tmp_path_factory.mktemp("kept")
    ran = run_cli(folder, *asked, *KEEPS, "-o", "run")
    assert ran.code == 0, ran.stderr
    return ran, folder


def test_the_answer_is_a_table_a_verdict_and_where_things_are(kept: Any) -> None:
    ran, _ = kept
    lines = ran.stdout.splitlines()
    for word in ("mean cosine", "memory", "size", "latency predicted", "measured", "interval", "policy"):
        assert word in lines[0]
    assert lines[1].startswith("dense")
    for start in ("kept", "budget kept", "test split: mean cosine", "sweep against search", "artifact: run/best"):
        assert any(line.startswith(start) for line in lines), start
    assert "run folder: run" in lines
    assert any(line.startswith("replay: autocompress search ") for line in lines)


def test_progress_goes_to_stderr_stage_by_stage(kept: Any) -> None:
    ran, _ = kept
    assert [line for line in ran.stderr.splitlines() if "error" in line.lower()] == []
    stages = [line[1:4] for line in ran.stderr.splitlines() if line.startswith("[")]
    assert stages == sorted(stages)
    assert {"1/8", "2/8", "3/8", "6/8", "7/8", "8/8"} <= set(stages)
    assert "1/8" not in ran.stdout


def test_the_run_folder_holds_the_files(kept: Any) -> None:
    _, folder = kept
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"best", "front.csv", "front.png", "trials.csv", "policy.json", "result.json"} <= names


def test_the_same_command_goes_on_and_json_is_alone_on_stdout(kept: Any, asked: Any, run_cli: Any) -> None:
    ran, folder = kept
    again = run_cli(folder, *asked, *KEEPS, "-o", "run", "--json")
    assert again.code == 0, again.stderr
    answer = json.loads(again.stdout)
    assert answer["kept"] is True
    assert answer["artifact"] == "run/best"
    assert answer["verdict"] in ran.stdout
    assert answer["front"]


def test_a_folder_of_another_model_is_refused(kept: Any, asked: Any, models: Path, run_cli: Any) -> None:
    _, folder = kept
    before = contents(folder)
    other = [word.replace(str(models / "bert"), str(models / "other")) for word in asked]
    ran = run_cli(folder, *other, *KEEPS, "-o", "run")
    assert ran.code == 2
    assert "error: the run folder 'run' belongs to another search: its model is" in ran.stderr
    assert "give another --out" in ran.stderr
    assert contents(folder) == before


def test_a_folder_of_another_target_is_refused(kept: Any, asked: Any, run_cli: Any) -> None:
    _, folder = kept
    before = contents(folder)
    ran = run_cli(folder, *asked, *KEEPS, "-o", "run", "--batch", "2")
    assert ran.code == 2
    assert "belongs to another search: its target" in ran.stderr
    assert contents(folder) == before


def test_bench_measures_the_artifact_again(kept: Any, run_cli: Any) -> None:
    _, folder = kept
    ran = run_cli(folder, "bench", "run/best", "--sessions", "2", "--json")
    assert ran.code == 0, ran.stderr
    found = json.loads(ran.stdout)
    now, before = found["measurements"]["size"], found["recorded"]["size"]
    assert now["median"] == before["median"]
    assert found["measurements"]["latency"]["sessions"] >= 2


def test_bench_exits_3_when_a_given_budget_is_missed(kept: Any, run_cli: Any) -> None:
    _, folder = kept
    ran = run_cli(folder, "bench", "run/best", "--sessions", "2", *MISSES)
    assert ran.code == 3, ran.stderr
    assert "agrees with" in ran.stdout or "differs from" in ran.stdout
    assert "missed" in ran.stdout


@pytest.mark.parametrize("name", ["model.safetensors", "policy.json", "autocompress.json"])
def test_an_artifact_with_a_changed_byte_is_refused(refused: Any, here: Path, kept: Any, name: str) -> None:
    _, folder = kept
    shutil.copytree(folder / "run" / "best", here / "best")
    content = bytearray((here / "best" / name).read_bytes())
    content[-20] ^= 1
    (here / "best" / name).write_bytes(content)
    refused("bench", "best", "--quiet", says=(name, "export the artifact again"))


def test_a_budget_that_cannot_be_kept_exits_3_and_leaves_no_best(asked: Any, cli: Any, here: Path) -> None:
    ran = cli(*asked, *MISSES, "-o", "run")
    assert ran.code == 3, ran.stderr
    assert "budget NOT kept" in ran.stdout
    assert "nearest policy: " in ran.stdout
    assert "  misses latency <= 100 ns by " in ran.stdout
    assert not (here / "run" / "best").exists()
    assert (here / "run" / "policy.json").is_file()


def test_an_interrupt_keeps_the_work_and_says_how_to_go_on(asked: Any, here: Path, environment: Any) -> None:
    command = [sys.executable, "-m", "autocompress.cli.main", *asked, *KEEPS, "-o", "run"]
    with subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[4/8]"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert "interrupted; what was measured is kept" in rest
    assert "to go on: autocompress search " in rest
    assert (here / "run" / "run.json").is_file()
    assert not (here / "run" / "best").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
