"""The command line answers quickly, imports nothing heavy, and every listing runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autocompress import __version__

HEAVY = {"torch", "transformers", "pandas", "matplotlib", "optuna", "scipy", "datasets"}


def imported(*command: str) -> set[str]:
    """Top-level modules that a python command imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not imported("-c", "import autocompress") & HEAVY


@pytest.mark.parametrize("command", [[], ["search"], ["bench"], ["doctor"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    assert not imported("-m", "autocompress.cli.main", *command, "--help") & HEAVY


def test_every_command_has_help_with_an_example(cli: Any) -> None:
    listed = re.findall(r"^│ (\w+) +\w", cli("--help").stdout.partition("Commands")[2], re.MULTILINE)
    assert set(listed) >= {"search", "apply", "bench", "plugins", "spaces", "doctor", "diff"}
    for command in listed:
        shown = cli(command, "--help")
        assert shown.code == 0
        assert f"autocompress {command}" in shown.stdout.partition("Example")[2]


def test_no_command_shows_the_help(cli: Any) -> None:
    shown = cli()
    assert shown.code == 0
    assert "search" in shown.stdout


def test_version(cli: Any) -> None:
    assert cli("--version").stdout == f"autocompress {__version__}\n"


def test_completion_is_offered_and_completes(cli: Any) -> None:
    assert "--install-completion" in cli("--help").stdout
    asked = {"_AUTOCOMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": "autocompress se", "COMP_CWORD": "1"}
    assert cli(env=asked).stdout.split() == ["search"]


def test_plugins_lists_what_is_installed(cli: Any) -> None:
    shown = cli("plugins", "--json")
    assert shown.code == 0, shown.stderr
    offers = json.loads(shown.stdout)
    assert set(offers) == {"techniques", "runtimes", "evaluators", "objectives", "samplers", "spaces"}
    techniques = {row["name"]: row for row in offers["techniques"]}
    assert {"int8", "svd", "ffn-neurons", "attention-heads"} <= set(techniques)
    for row in techniques.values():
        assert row["stage"] in ("structure", "factorize", "sparsify", "quantize")
        assert row["from"]
        assert set(row["kernel"]) == {"cpu (here)", "cpu (plain)", "cuda (sm_90)"}
        assert any(row["kernel"].values()) or row["unavailable"], row
    assert {row["name"] for row in offers["objectives"]} >= {"latency", "memory", "size", "quality"}


def test_plugins_prints_tables(cli: Any) -> None:
    shown = cli("plugins")
    assert shown.code == 0, shown.stderr
    for word in ("techniques", "runtimes", "int8", "cpu (here)"):
        assert word in shown.stdout


def test_spaces_lists_and_shows(cli: Any, here: Path) -> None:
    listed = cli("spaces")
    assert listed.code == 0, listed.stderr
    for name in ("encoder-cpu", "quantize", "prune", "full"):
        assert name in listed.stdout
    (here / "mine.toml").write_text('description = "[b]mine[/b]"\nextends = ["quantize"]\n')
    shown = cli("spaces", "mine.toml")
    assert shown.code == 0, shown.stderr
    assert "[b]mine[/b]" in shown.stdout
    assert "int8" in shown.stdout


def test_doctor_looks_at_the_machine(cli: Any) -> None:
    shown = cli("doctor", "--json")
    assert shown.code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["threads"] >= 1
    assert found["memory"] > 0
    assert found["disk"]["free"] > 0
    assert {"autocompress", "torch", "python"} <= set(found["versions"])
    assert found["plugins that fail"] == []
    printed = cli("doctor")
    assert found["cpu"] in printed.stdout


def test_diff_names_the_layers_that_differ(cli: Any, here: Path) -> None:
    from autocompress.core.policy import LayerPolicy, Policy, Step

    int8, half = LayerPolicy((Step("int8"),)), LayerPolicy((Step("ffn-neurons", {"keep": 0.5}),))
    Policy({"a": int8, "b": int8}).save(here / "one.json")
    Policy({"a": int8, "c:ffn": half}).save(here / "two.json")
    shown = cli("diff", "one.json", "two.json")
    assert shown.code == 0, shown.stderr
    assert "2 of 3 layers differ" in shown.stdout
    assert "ffn-neurons(keep=0.5)" in shown.stdout
    assert "the same" in cli("diff", "one.json", "one.json").stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    """Nobody reads the pipe when the command writes to it."""
    command = [sys.executable, "-m", "autocompress.cli.main", "plugins", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
