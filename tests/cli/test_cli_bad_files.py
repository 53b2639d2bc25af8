"""Models, data, policies, artifacts and outputs that cannot be used: one line each, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

BUDGET = ("-b", "75%")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{\n  no\n}")


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_only(folder: Path) -> None:
    no_weights(folder)
    torch.save({"weight": torch.zeros(2)}, folder / "pytorch_model.bin")


MODELS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no config": (no_config, ("no config.json", "save_pretrained")),
    "broken config": (broken_config, ("config.json, line 2", "not valid JSON")),
    "broken safetensors": (cut_weights, ("model.safetensors", "broken or cut off", "copy it again")),
    "no weights": (no_weights, ("no weights", "expected model.safetensors")),
    "pickle only": (pickle_only, ("pytorch_model.bin", "can run any code", "--allow-pickle")),
}


@pytest.mark.parametrize("row", MODELS)
def test_a_bad_model_folder_is_refused(refused: Any, here: Path, models: Path, row: str) -> None:
    damage, says = MODELS[row]
    shutil.copytree(models / "bert", here / "model")
    damage(here / "model")
    refused("search", "./model", *BUDGET, says=("model", *says))


def test_a_missing_model_folder_is_refused(refused: Any) -> None:
    refused("search", "./no-such-model", *BUDGET, says=("no-such-model",))


DATA: dict[str, tuple[str, str, list[str], tuple[str, ...]]] = {
    "empty": ("rows.txt", "\n \n", [], ("is empty", "expected rows of text")),
    "header only": ("rows.csv", "text,label\n", [], ("a header and no rows",)),
    "no text column": ("rows.csv", "a,b\n" + "1,2\n" * 60, [], ("rows.csv", "column")),
    "no such column": ("rows.csv", "text,b\n" + "one,two\n" * 60, ["--column", "txt"], ("'txt'", "text")),
    "too few rows": ("rows.txt", "one\ntwo\nthree\n", [], ("3", "expected at least")),
    "too few distinct rows": ("rows.txt", "one\n" * 100, [], ("1", "expected at least")),
    "malformed json": ("rows.json", '["a",\n "b"', [], ("rows.json, line 2", "malformed JSON")),
    "unknown suffix": ("rows.docx", "text", [], ("unknown suffix '.docx'", ".csv")),
}


@pytest.mark.parametrize("row", DATA)
def test_bad_data_is_refused(refused: Any, here: Path, row: str) -> None:
    name, content, options, says = DATA[row]
    (here / name).write_text(content)
    refused("search", *BUDGET, "--data", name, *options, says=says)


def test_a_missing_data_file_is_refused(refused: Any) -> None:
    refused("search", *BUDGET, "--data", "nowhere.csv", says=("nowhere.csv", "check the path"))


def step(technique: str = "int8") -> list[dict[str, Any]]:
    return [{"technique": technique, "params": {"activations": "token"}}]


POLICIES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "another architecture": (
        {"format_version": 1, "layers": {"decoder.layers.0.fc1": step(), "encoder.layer.0.output.dnse": step()}},
        ("another architecture", "2 of its 2 layers", "'decoder.layers.0.fc1'", "Near misses: "),
    ),
    "an unknown technique": (
        {"format_version": 1, "layers": {"encoder.layer.0.output.dense": step("int9")}},
        ("needs technique 'int9'", "not installed", "Did you mean 'int8'?"),
    ),
}


@pytest.mark.parametrize("row", POLICIES)
def test_a_policy_that_does_not_fit_is_refused(refused: Any, here: Path, models: Path, texts: Path, row: str) -> None:
    content, says = POLICIES[row]
    (here / "policy.json").write_text(json.dumps(content))
    model = ("--data", texts, "--sequence", 16)
    refused("apply", "policy.json", models / "bert", "-o", "out", *model, says=says)


UNREADABLE = {
    "not JSON": ("{", "not valid JSON"),
    "not a policy": ('{"a": 1}', "expected an object with 'format_version' and 'layers'"),
    "a newer format": ('{"format_version": 99, "layers": {}}', "format_version 99 is not known"),
}


@pytest.mark.parametrize("row", UNREADABLE)
def test_a_file_that_is_no_policy_is_refused(refused: Any, here: Path, row: str) -> None:
    content, says = UNREADABLE[row]
    (here / "policy.json").write_text(content)
    refused("apply", "policy.json", "demo", "-o", "out", says=("policy.json", says))
    refused("diff", "policy.json", "policy.json", says=("policy.json", says))


def test_a_missing_policy_is_refused(refused: Any) -> None:
    refused("apply", "no.json", "demo", "-o", "out", says=("no.json", "expected a JSON policy file", "check the path"))


@pytest.mark.parametrize("name", ["file/run", "/proc/no-such-folder/run", "/proc/run"])
def test_an_output_that_cannot_be_written_is_refused(refused: Any, here: Path, models: Path, name: str) -> None:
    (here / "file").write_text("I am a file")
    refused("search", models / "bert", *BUDGET, "-o", name, says=("cannot write", name, "--out"))


def test_an_output_that_holds_something_else_is_refused(refused: Any, here: Path, models: Path, texts: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").write_text("three years of work")
    (here / "policy.json").write_text('{"format_version": 1, "layers": {}}')
    model = (models / "bert", "--data", texts, "--sequence", 16)
    refused("search", *model, *BUDGET, "-o", "full", says=("'full' is not empty", "--out"))
    refused("apply", "policy.json", *model, "-o", "full", says=("'full' is not empty", "--out"))


def test_an_output_of_apply_that_cannot_be_written_is_refused(
    refused: Any, here: Path, models: Path, texts: Path
) -> None:
    (here / "file").write_text("I am a file")
    (here / "policy.json").write_text('{"format_version": 1, "layers": {}}')
    model = (models / "bert", "--data", texts, "--sequence", 16)
    refused("apply", "policy.json", *model, "-o", "file/out", says=("file/out",))


def test_a_folder_that_is_no_artifact_is_refused(refused: Any, models: Path) -> None:
    refused("bench", models / "bert", says=("is not an autocompress artifact", "best/"))
    refused("bench", "nowhere", says=("'nowhere'", "no such folder"))
