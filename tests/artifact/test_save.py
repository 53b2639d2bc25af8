"""Saving is all or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import Made
from torch import nn

from autocompress.artifact import load, save
from autocompress.basics.atomic import new_folder
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.errors import ArtifactError, RunError
from autocompress.plugin.registry import Registry

SLOW = """
import sys, time
from pathlib import Path
from autocompress.basics.atomic import new_folder
with new_folder(Path(sys.argv[1]), marker="done") as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_kill_in_the_middle_leaves_nothing_and_is_swept_up(tmp_path: Path) -> None:
    destination = tmp_path / "best"
    writer = subprocess.Popen([sys.executable, "-c", SLOW, str(destination)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not destination.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with new_folder(destination, marker="done") as folder:
        (folder / "done").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_an_error_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    destination = tmp_path / "best"
    with new_folder(destination, marker="done") as folder:
        (folder / "done").write_text("first")
    with pytest.raises(KeyError):
        fail(destination)
    assert (destination / "done").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    with new_folder(destination, marker="done") as folder:
        (folder / "done").write_text("third")
    assert (destination / "done").read_text() == "third"


def fail(destination: Path) -> None:
    with new_folder(destination, marker="done") as folder:
        (folder / "done").write_text("second")
        raise KeyError


def test_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("notes", "file"):
        with pytest.raises(RunError, match="holds something else"), new_folder(tmp_path / name, marker="done"):
            pass
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"


def test_an_unwritable_output_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught, new_folder(tmp_path / "file" / "best", marker="done"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_parent_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="writable"), new_folder(tmp_path / "best", marker="done"):
        pass


def test_saving_again_replaces_the_artifact(make: Callable[..., Made]) -> None:
    first, second = make("plain"), make("plain")
    assert first.folder == second.folder
    assert torch.equal(load(second.folder, base=second.dense)(second.inputs), second.answer)


def test_state_that_is_no_tensor_is_refused(tmp_path: Path, registry: Registry) -> None:
    class Odd(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

    with pytest.raises(ArtifactError, match="plain dense tensor"):
        save(tmp_path / "best", Odd(), Policy(), (), target=Target(), registry=registry)
    assert not (tmp_path / "best").exists()
