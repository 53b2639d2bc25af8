"""Runs the real command line in a process of its own, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PER_PROCESS = 120.0
"""Seconds after which a command that should refuse at once has failed."""


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code and both streams."""

    code: int
    stdout: str
    stderr: str


Cli = Callable[..., Ran]


def environment(**more: str) -> dict[str, str]:
    """This environment with one thread, no hub, and no colours."""
    fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
    return {**os.environ, **fixed, **more}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder in which commands run; empty at first."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(here: Path) -> Cli:
    """``cli("search", "--budget", "20ms")`` runs the command in ``here``."""

    def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        command = [sys.executable, "-m", "autocompress.cli.main", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=here, env=environment(**(env or {})), capture_output=True, text=True, timeout=PER_PROCESS, check=False
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def refused(cli: Cli, here: Path) -> Cli:
    """Runs a command that must be refused: exit code 2, one error line, no traceback, nothing left on disk.

    ``refused(*arguments, says=[...])`` also checks that the line holds each of the words.
    """

    def run(*arguments: str | Path, says: tuple[str, ...], env: Mapping[str, str] | None = None) -> Ran:
        before = set(here.rglob("*"))
        ran = cli(*arguments, env=env)
        errors = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
        assert ran.code == 2, ran.stderr
        assert len(errors) == 1, ran.stderr
        assert "Traceback" not in ran.stderr
        for word in says:
            assert word in errors[0], errors[0]
        assert set(here.rglob("*")) == before
        assert ran.stdout == ""
        return ran

    return run
