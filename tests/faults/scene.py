"""Where a fault happens: a tiny model and its data, a folder, strangers' plugins, and the real command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = "the a cat dog sat ran on mat fast slow red blue and of bird fish"
Row = tuple[str, bool, str]
"""Which fault, whether it was survived and told, and in words."""
HANG = 400.0
"""Seconds after which a command hangs: a search here takes a tenth of it on an idle machine."""


@dataclass(frozen=True)
class Ran:
    """What a command left behind; ``code`` is None when it had to be ended."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]

    def said(self, words: str) -> str:
        """The first line with these words, or ""."""
        return next((line.strip() for line in self.stderr.splitlines() if words in line), "")


@dataclass
class Scene:
    """One folder in which commands run. ``shared`` holds the model and the data, read only."""

    folder: Path
    shared: Path
    env: dict[str, str] = field(default_factory=dict)
    hung: int = 0

    def __post_init__(self) -> None:
        for name in ("here", "tmp", "site"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def here(self) -> Path:
        return self.folder / "here"

    def environment(self) -> dict[str, str]:
        settled = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "300"}
        path = os.pathsep.join([str(self.folder / "site"), str(ROOT)])
        # A temporary folder of its own: otherwise it waits for the device lock of whatever else measures here.
        own = {"TMPDIR": str(self.folder / "tmp"), "XDG_RUNTIME_DIR": "", "AUTOCOMPRESS_CACHE": "", "PYTHONPATH": path}
        return {**os.environ, **settled, **own, "PYTHONDONTWRITEBYTECODE": "1", **self.env}

    def stranger(self, source: str, name: str = "stranger") -> None:
        """Install a plugin module ``<name>_plugin`` of a distribution ``name``."""
        site = self.folder / "site"
        information = site / f"{name}-1.0.dist-info"
        information.mkdir(parents=True, exist_ok=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[autocompress]\n{name} = {name}_plugin\n")
        (site / f"{name}_plugin.py").write_text(source)

    def space(self, *techniques: str) -> Path:
        """A search space with these techniques on linears."""
        path = self.here / "space.toml"
        path.write_text("".join(f'[[rule]]\nkind = "linear"\ntechnique = "{name}"\n' for name in techniques))
        return path

    def search(self, *more: str | Path, out: str | Path = "run", space: str | Path = "quantize") -> list[str]:
        """The command of a search whose outcome depends on no clock: a size budget that int8 keeps."""
        options = ("--data", self.shared / "rows.csv", "--sequence", 16, "--threads", 1, "--trials", 4, "--sessions", 2)
        words = ("search", self.shared / "bert", "-b", "size=85%", *options, "--space", space, "-o", out, *more)
        return [str(word) for word in words]

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command in ``here``."""
        command = [sys.executable, "-m", "tests.faults.command", *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=self.here,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Ran:
        """Wait for a command; one that hangs is ended and counted."""
        try:
            out, err = process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            self.hung += 1
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return Ran(None, out, err)
        return Ran(process.returncode, out, err)

    def run(self, *arguments: str | Path) -> Ran:
        return self.finish(self.start(*arguments))


def wait_for(process: subprocess.Popen[str], found: Path, least: int = 1) -> bool:
    """Whether a file came to hold so many bytes while the process ran."""
    until = time.monotonic() + HANG
    while process.poll() is None and time.monotonic() < until:
        if found.is_file() and found.stat().st_size >= least:
            return True
        time.sleep(0.02)
    return False


def make_shared(folder: Path) -> None:
    """A tiny BERT with a tokenizer in ``bert``, and ``rows.csv``."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = hf.BertConfig(vocab_size=32, max_position_embeddings=40, **sizes)
    hf.BertModel(config).save_pretrained(folder / "bert")
    vocabulary = folder / "bert" / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]))
    hf.BertTokenizerFast(str(vocabulary)).save_pretrained(folder / "bert")
    words = WORDS.split()
    rows = [" ".join(words[(i * j + i + j) % len(words)] for j in range(3, 9)) + f" {'dog ' * i}" for i in range(60)]
    (folder / "rows.csv").write_text("text\n" + "\n".join(rows) + "\n")
