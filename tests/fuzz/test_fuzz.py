"""A small round of `make fuzz`: whatever a file holds, reading it gives what was meant or one line of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from .formats import Format, formats
from .report import fuzz

MUTATIONS = 12
NAMES = (
    *("policy file", "search space", "settings"),
    *(f"data {kind}" for kind in ("txt", "csv", "tsv", "json", "jsonl", "safetensors")),
    *("run.json", "measurements.jsonl", "cache file", "journal.log"),
    *(f"artifact {name}.json" for name in ("autocompress", "policy", "layers", "config")),
    *(f"artifact {name}.safetensors" for name in ("model", "buffers", "example")),
    *("model config.json", "model model.safetensors.index.json"),
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    return {one.name: one for one in formats(tmp_path_factory.mktemp("formats"))}


def test_every_format_is_named(known: dict[str, Format]) -> None:
    assert set(known) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_that_is_whole_is_read(name: str, known: dict[str, Format], tmp_path: Path) -> None:
    known[name].read(known[name].example, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_only_errors_of_ours_come_out(name: str, known: dict[str, Format]) -> None:
    found = fuzz(known[name], MUTATIONS * min(known[name].weight, 10), number=7)
    assert found.foreign == {}
    assert found.refused > 0 or name == "cache file", "a damaged cache is not used, with a warning; all else is refused"
