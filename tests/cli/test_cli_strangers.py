"""Code that lies in the current folder is never run: not by the command line, not by the processes that measure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAP = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').write_text('')\nraise SystemExit('a stranger ran')\n"
NAMES = ("numpy", "torch", "psutil", "safetensors", "json", "autocompress", "sitecustomize")
SCRIPT = Path(sys.executable).with_name("autocompress")


@pytest.fixture
def trapped(here: Path) -> Path:
    """A folder full of modules that nobody may import, one of them a package with our name."""
    for name in NAMES:
        (here / f"{name}.py").write_text(TRAP)
    (here / "transformers").mkdir()
    (here / "transformers" / "__init__.py").write_text(TRAP)
    return here


def ran(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.ran")]


def command(folder: Path, environment: dict[str, str], *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_whole_search_in_a_folder_of_traps(
    trapped: Path, environment: dict[str, str], models: Path, texts: Path
) -> None:
    options = ("--trials", "1", "--threads", "1", "--sequence", "16", "--data", texts, "-o", "run", "--quiet")
    done = command(trapped, environment, "search", models / "bert", "-b", "size=99%", *options)
    assert ran(trapped) == []
    assert done.returncode == 0, done.stderr
    again = command(trapped, environment, "bench", "run/best", "--sessions", "2", "--quiet")
    assert ran(trapped) == []
    assert again.returncode == 0, again.stderr


def test_an_empty_entry_of_the_path_is_not_the_current_folder(trapped: Path, environment: dict[str, str]) -> None:
    for name in ("sitecustomize", "json", "autocompress"):  # read by Python itself before any line of ours
        (trapped / f"{name}.py").unlink()
    done = command(trapped, {**environment, "PYTHONPATH": os.pathsep}, "spaces")
    assert ran(trapped) == []
    assert done.returncode == 0, done.stderr


def test_below_a_folder_of_our_name(here: Path, environment: dict[str, str], models: Path, texts: Path) -> None:
    (here / "autocompress" / "artifact").mkdir(parents=True)
    (here / "autocompress" / "__init__.py").write_text(TRAP)
    policy = here / "policy.json"
    policy.write_text('{"format_version": 1, "layers": {}}')
    model = (models / "bert", "--data", texts, "--sequence", "16", "--threads", "1")
    done = command(here, environment, "apply", "policy.json", *model, "-o", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    done = command(here, environment, "bench", "out", "--sessions", "2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert ran(here) == []


MODEL = """
import torch
class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(16, 16)
    def forward(self, x):
        return self.up(x)
"""
USER = """
import torch, autocompress.sessions as a
from autocompress.measure.machine import detect_target
from mine import Mine
target = detect_target("cpu", batch=2, threads=1)
found = a.run_session(None, target=target, base=Mine().eval(), inputs={"x": torch.ones(2, 16)}, seconds=0.1)
print("measured", len(found.dense_latency) > 0)
"""


@pytest.mark.parametrize("how", ["script", "command", "module", "path"])
def test_a_model_of_the_users_own_folder_is_still_measured(
    how: str, here: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (here / "mine.py").write_text(MODEL)
    (here / "user.py").write_text(USER)
    trap = here / "pandas.py"
    trap.write_text(TRAP)
    arguments = {"script": ["user.py"], "command": ["-c", USER], "module": ["-m", "user"], "path": [here / "user.py"]}
    done = subprocess.run(
        [sys.executable, *map(str, arguments[how])],
        cwd=tmp_path if how == "path" else here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "measured True" in done.stdout, done.stderr
    assert ran(here) == []
