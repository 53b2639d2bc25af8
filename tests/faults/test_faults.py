"""The two faults that reach deepest, injected into real searches; `make faults` injects all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import disks, plugins
from tests.faults.__main__ import FAULTS
from tests.faults.scene import Scene, make_shared


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults-shared")
    make_shared(folder)
    return folder


@pytest.mark.slow
def test_techniques_that_misbehave_are_refused_by_cause_and_the_budget_is_kept(shared: Path, tmp_path: Path) -> None:
    rows = plugins.techniques(Scene(tmp_path, shared))
    assert len(rows) == len(plugins.CAUSES)
    assert [row for row in rows if not row[1]] == []


@pytest.mark.slow
def test_a_candidate_that_does_not_fit_on_the_disk_and_the_same_command_with_room(shared: Path, tmp_path: Path) -> None:
    good, words = disks.file_limit(Scene(tmp_path, shared), kilobytes=60, what="candidates")
    assert good, words


def test_every_kind_of_fault_is_tried() -> None:
    assert {name.partition(":")[0] for name in FAULTS} == {
        "disk full", "plugin", "session", "process", "clock", "two searches",
    }  # fmt: skip
