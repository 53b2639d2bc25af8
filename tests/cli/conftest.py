"""Runs the real command line in an empty folder: in a process of its own, or in ours where a line is all it answers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

PER_PROCESS = 300.0
"""Seconds after which a command that should refuse at once has failed."""


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code and both streams."""

    code: int
    stdout: str
    stderr: str


Cli = Callable[..., Ran]


def settled(**more: str) -> dict[str, str]:
    """This environment with one thread, no hub, and no colours."""
    fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
    return {**os.environ, **fixed, **more}


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of every command."""
    return settled()


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., Ran]:
    """``run_cli(folder, "search", "--budget", "20ms")`` runs the command in a folder."""

    def run(folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "autocompress.cli.main", *map(str, arguments)],
            cwd=folder,
            env=settled(**(env or {})),
            capture_output=True,
            text=True,
            timeout=PER_PROCESS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder in which commands run; empty at first."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(here: Path, run_cli: Callable[..., Ran]) -> Cli:
    """``cli("search", "--budget", "20ms")`` runs the command in ``here``."""
    return partial(run_cli, here)


@pytest.fixture
def within(here: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The same in this process, which has the libraries already: for commands that end before anything runs."""
    from autocompress.cli.app import app
    from autocompress.cli.errors import run as run_app

    def run(*arguments: str | Path) -> Ran:
        out, err, logger = StringIO(), StringIO(), logging.getLogger("autocompress")
        handlers = list(logger.handlers)
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(here)
            for name, value in settled().items():
                patch.setenv(name, value)
            code = run_app(app, [*map(str, arguments)])
        logger.handlers = handlers
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def refused(cli: Cli, within: Cli, here: Path) -> Cli:
    """Runs a command that must be refused: exit code 2, one error line, no traceback, nothing left on disk.

    ``refused(*arguments, says=[...])`` also checks that the line holds each of the words.
    """

    def run(*arguments: str | Path, says: tuple[str, ...], env: Mapping[str, str] | None = None) -> Ran:
        before = set(here.rglob("*"))
        ran = within(*arguments) if env is None else cli(*arguments, env=env)
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


WORDS = "the a cat dog sat ran on mat fast slow red blue and of bird fish"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a tokenizer as ``bert``, one of other sizes as ``other``; read only."""
    import torch
    import transformers as hf

    root = tmp_path_factory.mktemp("cli-models")
    torch.manual_seed(0)
    for name, layers in (("bert", 2), ("other", 1)):
        config = hf.BertConfig(
            vocab_size=32,
            hidden_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=40,
        )
        hf.BertModel(config).save_pretrained(root / name)
        vocabulary = root / name / "vocab.txt"
        vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]))
        hf.BertTokenizerFast(str(vocabulary)).save_pretrained(root / name)
    return root


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file with a column ``text`` of 60 different rows."""
    words = WORDS.split()
    rows = [" ".join(words[(i * j + i + j) % len(words)] for j in range(3, 9)) + f" {'dog ' * i}" for i in range(60)]
    file = tmp_path_factory.mktemp("cli-data") / "rows.csv"
    file.write_text("text\n" + "\n".join(rows) + "\n")
    return file


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """``stranger(source)`` installs a plugin module of a distribution ``stranger``; gives the environment to see it."""

    def install(source: str) -> dict[str, str]:
        site = tmp_path / "site"
        information = site / "stranger-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[autocompress]\nstranger = stranger_plugin\n")
        (site / "stranger_plugin.py").write_text(source)
        return {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    return install
