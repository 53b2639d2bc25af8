"""Budgets and names that cannot be used: one line that says what was given, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BUDGETS = {
    "unknown unit": (["20lightyears"], ("'lightyears'", "20ms", "%")),
    "unknown unit, misspelt": (["20mss"], ("unknown unit 'mss'", "expected one of")),
    "not a number": (["fast"], ("'fast'", "expected a number and a unit")),
    "zero": (["0ms"], ("'0ms' is not positive", "such as 20ms")),
    "negative": (["--budget=-5MB"], ("'-5MB' is not positive", "above zero")),
    "no unit": (["20"], ("has no unit", "quality=0.98")),
    "unknown objective": (["latncy=20ms"], ("unknown objective in budget 'latncy'", "Did you mean 'latency'")),
    "a unit of another kind": (["memory=20ms"], ("memory expects bytes such as 500MB",)),
    "a statistic of another kind": (["memory.p95=1GB"], ("unknown statistic 'p95'", "latency.p95")),
    "twice the same": (["20ms", "latency=30ms"], ("contradictory budgets", "give one budget for latency")),
    "a tail below the median": (["20ms", "latency.p95=10ms"], ("contradictory budgets", "drop one of them")),
    "more quality than there is": (["quality=120%"], ("more than the dense model has", "100% or less")),
    "none at all": ([], ("no budget given", "--budget 20ms")),
}


@pytest.mark.parametrize("row", BUDGETS)
def test_a_bad_budget_is_refused(refused: Any, row: str) -> None:
    budgets, says = BUDGETS[row]
    options = [text if text.startswith("--") else f"--budget={text}" for text in budgets]
    refused("search", *options, says=says)


NAMES = {
    "task": (["--task", "embeding"], ("unknown task 'embeding'", "Did you mean 'embedding'", "Known: ")),
    "evaluator": (["--evaluator", "logits-fidelty"], ("unknown evaluator", "Did you mean 'logits-fidelity'")),
    "space": (["--space", "encoder_cpu"], ("unknown search space", "Did you mean 'encoder-cpu'", ".toml")),
    "runtime": (["--runtime", "torhc"], ("unknown runtime 'torhc'", "Did you mean 'torch'")),
    "sampler": (["--sampler", "tpee"], ("unknown sampler 'tpee'", "Did you mean 'tpe'")),
    "device": (["--device", "tpu"], ("unknown device 'tpu'", "cpu, cuda or auto")),
    "batch": (["--batch", "0"], ("batch is 0", "at least 1")),
    "threads": (["--threads", "-1"], ("threads is -1", "at least 1")),
    "trials": (["--trials", "many"], ("--trials", "integer", "--help")),
    "time": (["--time", "5 lightyears"], ("'5 lightyears'", "90s or 10m")),
    "an option": (["--bugdet", "1s"], ("No such option: --bugdet", "--budget", "--help")),
}


@pytest.mark.parametrize("row", NAMES)
def test_an_unknown_name_or_value_is_refused(refused: Any, row: str) -> None:
    options, says = NAMES[row]
    refused("search", "-b", "75%", *options, says=says)


def test_an_unknown_command_is_refused(refused: Any) -> None:
    refused("serch", says=("No such command 'serch'", "search"))


def test_an_unknown_technique_in_a_space_is_refused(refused: Any, here: Path, models: Path, texts: Path) -> None:
    (here / "mine.toml").write_text('[[rule]]\ntechnique = "int9"\n')
    says = ("unknown technique 'int9'", "Did you mean 'int8'")
    refused(
        "search", models / "bert", "--data", texts, "--sequence", 16, "-b", "75%", "--space", "mine.toml", says=says
    )
    refused("spaces", "mine.toml", says=says)


def test_a_pattern_that_matches_nothing_is_refused(refused: Any, here: Path, models: Path, texts: Path) -> None:
    (here / "mine.toml").write_text('[[rule]]\ntechnique = "int8"\nmatch = "*.intermediate.dnse"\n')
    says = ("matches no layer", "Near misses: ", "intermediate.dense")
    refused(
        "search", models / "bert", "--data", texts, "--sequence", 16, "-b", "75%", "--space", "mine.toml", says=says
    )


SPACES = {
    "wrong type": ('description = 3\n[[rule]]\ntechnique = "int8"\n', ("line 1", "'description' expects str")),
    "unknown key": ('[[rule]]\ntechnique = "int8"\nsher = "layer"\n', ("line 3", "'sher'", "Did you mean 'share'")),
    "wrong type in a rule": ("[[rule]]\n\ntechnique = 8\n", ("line 3", "'technique' expects str")),
    "no technique": ('[[rule]]\nmatch = "*"\n', ("line 1", "needs a 'technique'")),
    "not TOML": ("[[rule]\n", ("line 1", "not valid TOML")),
}


@pytest.mark.parametrize("row", SPACES)
def test_a_bad_space_names_file_line_and_key(refused: Any, here: Path, row: str) -> None:
    text, says = SPACES[row]
    (here / "mine.toml").write_text(text)
    refused("search", "-b", "75%", "--space", "mine.toml", says=("mine.toml", *says))


SETTINGS = {
    "wrong type": ("[search]\n\ntrials = 'many'\n", ("line 3", "trials", "expected a whole number")),
    "unknown key": ("[search]\nbugdet = '20ms'\n", ("line 2", "'bugdet'", "Did you mean 'budget'")),
    "unknown table": ("[serch]\nbudget = '20ms'\n", ("line 1", "'serch'", "Did you mean 'search'")),
    "not TOML": ("[search]\nbudget = \n", ("line 2", "not valid TOML")),
    "bad value": ("[search]\nbudget = '20lightyears'\n", ("unknown unit 'lightyears'",)),
}


@pytest.mark.parametrize("row", SETTINGS)
def test_a_bad_setting_names_file_line_and_key(refused: Any, here: Path, row: str) -> None:
    text, says = SETTINGS[row]
    (here / "autocompress.toml").write_text(text)
    refused("search", says=says if row == "bad value" else ("autocompress.toml", *says))
