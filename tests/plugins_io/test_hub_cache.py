"""A hub id that is in the local cache loads without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from autocompress_transformers.loader import Permissions, load

from autocompress.errors import ModelError

REVISION = "0" * 40


@pytest.fixture
def snapshot(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny BERT as huggingface_hub keeps a downloaded ``owner/tiny``."""
    repository = tmp_path / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return shutil.copytree(models / "bert", repository / "snapshots" / REVISION)


def test_a_cached_model_loads(snapshot: Path) -> None:
    found = load("owner/tiny", None, Permissions())
    assert (found.source, found.folder, found.task) == ("owner/tiny", snapshot, "embedding")
    assert torch.isfinite(found.model(**found.encode(["a cat"], 6)).last_hidden_state).all()


def test_a_cached_pickle_is_still_refused(snapshot: Path) -> None:
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only as pickle"):
        load("owner/tiny", None, Permissions())


def test_a_model_without_safetensors_points_at_the_flag(snapshot: Path) -> None:
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'owner/tiny' has no safetensors on the hub: .* give --allow-pickle"):
        load("owner/tiny", None, Permissions())


def test_another_id_is_not_found(snapshot: Path) -> None:
    assert snapshot.is_dir()
    with pytest.raises(ModelError, match=r"no folder 'owner/other' here, no copy of it in the cache"):
        load("owner/other", None, Permissions())
