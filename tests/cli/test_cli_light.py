"""What needs no model answers without the seconds that torch and Transformers take to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers"}


ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def run(folder: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Exit code, top-level modules that were imported, and what was said."""
    command = [sys.executable, "-X", "importtime", "-m", "autocompress.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}
    return done.returncode, modules, "\n".join(line for line in lines if not line.startswith("import time:"))


@pytest.mark.parametrize("arguments", [("doctor",), ("spaces",), ("spaces", "full"), ("cache",)], ids=" ".join)
def test_what_needs_no_model_imports_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    import torch

    if torch.version.cuda is not None and arguments == ("doctor",):
        pytest.skip("a torch that is built for CUDA is asked which GPU there is")
    code, modules, said = run(tmp_path, *arguments)
    assert code == 0, said
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-b", "xx"), "cannot read 'xx'"),
        (("-b", "75%", "--space", "nospace"), "unknown search space 'nospace'"),
        (("-b", "75%", "--sampler", "nosampler"), "unknown sampler 'nosampler'"),
        (("-b", "75%", "--runtime", "noruntime"), "unknown runtime 'noruntime'"),
        (("-b", "75%", "--evaluator", "none"), "unknown evaluator 'none'"),
        (("-b", "75%", "--task", "notask"), "unknown task 'notask'"),
        (("-b", "75%", "--device", "tpu"), "unknown device 'tpu'"),
        (("-b", "75%", "--data", "absent.csv"), "absent.csv"),
        (("-b", "75%", "--space", "mine.toml"), "unknown technique 'int9'"),
        (("-b", "energy=3"), "energy"),
        (("-b", "75%", "--trials", "0"), "trials is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_search_is_refused_before_anything_heavy_is_imported(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('[[rule]]\nmatch = "*"\ntechnique = "int9"\n')
    code, modules, said = run(tmp_path, "search", "some-model", *arguments)
    assert code == 2, said
    assert says in said
    assert modules & HEAVY == set()


def test_a_policy_that_needs_what_is_not_installed_is_refused_at_once(tmp_path: Path) -> None:
    from autocompress.core.policy import LayerPolicy, Policy, Step

    Policy({"a": LayerPolicy((Step("kmeans"),))}, {"kmeans": "autocompress-kmeans"}).save(tmp_path / "policy.json")
    code, modules, said = run(tmp_path, "apply", "policy.json", "some-model", "-o", "out")
    assert code == 2, said
    assert "needs technique 'kmeans', which is not installed: pip install autocompress-kmeans" in said
    assert modules & HEAVY == set()
    assert not os.path.exists(tmp_path / "out")
