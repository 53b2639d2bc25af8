"""Every checkpoint that cannot be used is refused in one line that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from autocompress_transformers.loader import Permissions, load
from safetensors.torch import load_file

from autocompress.errors import ModelError

CODE = """
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

class OwnConfig(PreTrainedConfig):
    model_type = "own-kind"
    vocab_size = 64

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(64, 8)
        self.post_init()
    def forward(self, input_ids=None, attention_mask=None):
        return BaseModelOutput(last_hidden_state=self.words(input_ids))
"""


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to be damaged."""
    return shutil.copytree(models / "bert", tmp_path / "copy")


def edit_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def write_own_code(folder: Path) -> None:
    (folder / "own.py").write_text(CODE)
    kinds = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    config = {"model_type": "own-kind", "architectures": ["OwnModel"], "auto_map": kinds}
    (folder / "config.json").write_text(json.dumps(config))


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def write_index(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"no config\.json in .*save_pretrained"),
    "config not JSON": (lambda f: (f / "config.json").write_text('{\n"a": }'), r"config\.json, line 2: not valid JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), r"expected a JSON object"),
    "a number that is no token": (lambda f: edit_config(f, lambda c: c.update(eos_token_id=1e308)), r"eos_token_id"),
    "no model_type": (lambda f: edit_config(f, lambda c: c.pop("model_type")), r"no model_type in"),
    "unknown model_type": (
        lambda f: edit_config(f, lambda c: c.update(model_type="bertt", architectures=["BerttModel"])),
        r"unknown model_type 'bertt' .*Did you mean .*'bert'.*pip install -U transformers",
    ),
    "truncated weights": (lambda f: cut(f / "model.safetensors", 0.6), r"broken or cut off .*copy it again"),
    "truncated header": (lambda f: cut(f / "model.safetensors", 0.001), r"broken or cut off .*copy it again"),
    "empty weights": (lambda f: cut(f / "model.safetensors", 0), r"broken or cut off .*copy it again"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"no weights in .*expected model\.safetensors"),
    "missing shard": (lambda f: write_index(f, '{"weight_map": {"a": "gone.safetensors"}}'), r"missing shard .*gone"),
    "damaged index": (lambda f: write_index(f, "{}"), r"index\.json.* is damaged"),
    "pickle": (as_pickle, r"only as pickle \(pytorch_model\.bin\), and unpickling .* run any code: .*--allow-pickle"),
    "own code": (write_own_code, r"its own Python code \(auto_map in config\.json\).*--trust-remote-code"),
    "compressed": (
        lambda f: edit_config(f, lambda c: c.update(quantization_config={"quant_method": "gptq"})),
        r"compressed already \(gptq\): expected the dense checkpoint",
    ),
    "other shapes": (
        lambda f: edit_config(f, lambda c: c.update(intermediate_size=96)),
        r"cannot load .*expected weights that fit config\.json",
    ),
    "more layers": (
        lambda f: edit_config(f, lambda c: c.update(num_hidden_layers=3)),
        r"has no weights for encoder\.layer\.2.* and \d+ more",
    ),
    "a million layers": (
        lambda f: edit_config(f, lambda c: c.update(num_hidden_layers=1_000_000)),
        r"num_hidden_layers is 1000000, but its weights are \d+ tensors",
    ),
    "a thousand layers": (
        lambda f: edit_config(f, lambda c: c.update(num_hidden_layers=1000, hidden_size=1024)),
        r"builds (more than \d+ modules|\d+ numbers, its weights hold)",
    ),
    "terabytes": (
        lambda f: edit_config(f, lambda c: c.update(hidden_size=1 << 20, intermediate_size=1 << 20)),
        r"builds \d+ numbers, its weights hold",
    ),
    "damaged tokenizer": (lambda f: cut(f / "tokenizer.json", 0.5), r"cannot read the tokenizer in"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(folder: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load(str(folder), None, Permissions())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", r"no folder '\./nowhere': expected a model folder or a hub id"),
        ("/nowhere/at/all", r"no folder '/nowhere/at/all'"),
        ("owner/no-such-model", r"no folder 'owner/no-such-model' here.*(hub|cache)"),
        ("two--dashes..", r"no folder 'two--dashes\.\.', and it is not a hub id"),
        (__file__, r"is a file: expected a folder"),
    ],
)
def test_places_without_a_model(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=message) as caught:
        load(source, None, Permissions())
    assert "\n" not in str(caught.value)


def test_an_unknown_task_names_near_misses(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown task 'embeding'\. Did you mean 'embedding'"):
        load(str(folder), "embeding", Permissions())


def test_a_task_without_trained_weights_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no weights for classifier\.bias, classifier\.weight, .*'classification'"):
        load(str(folder), "classification", Permissions())


def test_pickle_loads_where_it_is_allowed(folder: Path, models: Path) -> None:
    as_pickle(folder)
    found = load(str(folder), None, Permissions(allow_pickle=True))
    safe = load(str(models / "bert"), None, Permissions())
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), safe.model.parameters(), strict=True))


def test_a_pickle_that_would_run_code_is_refused_even_then(folder: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return exec, ("raise SystemExit('the pickle ran code')",)

    torch.save({"embeddings.word_embeddings.weight": Harm()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load"):
        load(str(folder), None, Permissions(allow_pickle=True))


def test_own_code_runs_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    write_own_code(tmp_path)
    from safetensors.torch import save_file

    save_file({"words.weight": torch.ones(64, 8)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = load(str(tmp_path), None, Permissions(trust_remote_code=True))
    assert type(found.model).__name__ == "OwnModel"
    assert torch.equal(found.model(**found.example(2, 4)).last_hidden_state, torch.ones(2, 4, 8))


def test_code_that_comes_along_with_a_known_kind_is_not_run(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('ran')")
    edit_config(folder, lambda c: c.update(auto_map={"AutoModel": "own.OwnModel"}))
    for trust in (False, True):
        found = load(str(folder), None, Permissions(trust_remote_code=trust))
        assert type(found.model) is hf.BertModel
