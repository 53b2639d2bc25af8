"""An artifact from a stranger runs nothing and builds nothing absurd, by our loader, by the CLI and by AutoModel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from hostile import edit, sign
from tiny_models import Made

from autocompress.artifact import load
from autocompress.artifact.manifest import MANIFEST
from autocompress.errors import ArtifactError

CODE = """import pathlib
pathlib.Path(__file__).with_name("RAN").write_text("")
from transformers import BertConfig as Config, BertModel as Model
"""
AUTO_MAP = {"AutoConfig": "stranger.Config", "AutoModel": "stranger.Model"}


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def with_code(folder: Path, *, kind: str = "stranger") -> None:
    """A manifest that says AutoModel, a config that names code, and the code."""
    (folder / "stranger.py").write_text(CODE)
    edit(folder, "config.json", lambda config: config.update(auto_map=AUTO_MAP, model_type=kind))
    sign(folder, architecture="AutoModel")


def with_pickle(folder: Path) -> None:
    """Weights as a pickle that runs a command, instead of safetensors."""
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Payload(folder / "RAN")}, folder / "pytorch_model.bin")
    sign(folder, weights=["pytorch_model.bin"])


def command(*arguments: Any, answer: str = "y\n" * 9) -> subprocess.CompletedProcess[str]:
    """A real process that says yes to whatever it is asked."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], input=answer, capture_output=True, text=True, check=False, timeout=120
    )


AUTO = "import sys, autocompress, transformers; transformers.AutoModel.from_pretrained(sys.argv[1])"


@pytest.mark.parametrize("attack", [with_code, with_pickle])
def test_the_command_line_runs_no_code_of_an_artifact(
    attack: Callable[[Path], None], make: Callable[..., Made]
) -> None:
    folder = make("bert").folder
    attack(folder)
    done = command("-m", "autocompress.cli.main", "bench", folder, "--sessions", "2")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize("attack", [with_code, with_pickle])
def test_load_runs_no_code(attack: Callable[[Path], None], make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    attack(folder)
    code = "import sys, autocompress as ac; ac.load(sys.argv[1])"
    done = command("-c", code, folder)
    assert "ArtifactError" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (folder / "RAN").exists()


def test_code_that_only_its_manifest_hides(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the files not looked at: neither auto_map nor the class of the manifest reaches Transformers."""
    monkeypatch.setattr("autocompress.artifact.folder._is_code", lambda _name: False)
    folder = make("bert").folder
    with_code(folder)
    with pytest.raises(ArtifactError, match="says that it holds a AutoModel"):
        load(folder)
    sign(folder, architecture="BertModel")
    with pytest.raises(ArtifactError, match="model_type is 'stranger'"):
        load(folder)
    edit(folder, "config.json", lambda config: config.update(model_type="bert"))
    with pytest.raises(ArtifactError, match="auto_map"):
        load(folder)
    assert not (folder / "RAN").exists()


def test_automodel_runs_no_code_and_reads_no_pickle(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    with_code(folder, kind="bert")
    done = command("-c", AUTO, folder)
    assert "ArtifactError" in done.stderr, done.stderr
    assert not (folder / "RAN").exists()
    shutil.rmtree(folder)
    folder = make("bert").folder
    edit(folder, "config.json", lambda config: config.pop("dtype") and None)
    with_pickle(folder)
    done = command("-c", AUTO, folder)
    assert "ArtifactError" in done.stderr, done.stderr
    assert not (folder / "RAN").exists()
    (folder / MANIFEST).unlink()
    done = command("-c", AUTO, folder)
    assert "expected weights as safetensors" in done.stderr, done.stderr
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize("name", ["Trainer", "BertConfig", "PreTrainedModel", "BertTokenizer", "pipeline", "os", "x"])
def test_only_a_model_class_of_transformers_is_built(name: str, make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    sign(folder, architecture=name)
    with pytest.raises(ArtifactError, match=r"the artifact (says that it )?holds a"):
        load(folder)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
@pytest.mark.parametrize("value", ["stranger/kernels", {"": "stranger/kernels"}, "flash_attention_2", 3])
def test_no_kernel_is_fetched(key: str, value: Any, make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    edit(folder, "config.json", lambda config: config.update({key: value}))
    for how in (load, hf.AutoModel.from_pretrained):
        with pytest.raises(ArtifactError, match="implementation is"):
            how(folder)


def test_attention_comes_from_a_closed_list(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    edit(folder, "config.json", lambda config: config["quantization_config"].update(attention="stranger/kernels"))
    for how in (load, hf.AutoModel.from_pretrained):
        with pytest.raises(ArtifactError, match="quantization_config: attention: input should be 'eager' or 'sdpa'"):
            how(folder)


def test_automodel_checks_the_same_hashes(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    for how in (load, hf.AutoModel.from_pretrained, hf.BertModel.from_pretrained):
        with pytest.raises(ArtifactError, match=r"'model\.safetensors' was changed"):
            how(folder)


def strange_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("")


def strange_folder(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("")


def link(folder: Path) -> None:
    (folder / "policy.json").rename(folder.parent / "policy.json")
    (folder / "policy.json").symlink_to(folder.parent / "policy.json")


def pipe(folder: Path) -> None:
    (folder / "policy.json").unlink()
    os.mkfifo(folder / "policy.json")


FOLDERS = {
    "not listed": (strange_file, "does not list"),
    "not listed below": (strange_folder, "does not list"),
    "link": (link, "is a link"),
    "pipe": (pipe, "is no plain file"),
}


@pytest.mark.parametrize("row", FOLDERS)
def test_a_folder_holds_what_its_manifest_lists(row: str, make: Callable[..., Made]) -> None:
    change, says = FOLDERS[row]
    folder = make("bert").folder
    change(folder)
    for how in (load, hf.AutoModel.from_pretrained):
        with pytest.raises(ArtifactError, match=says):
            how(folder)


def test_a_snapshot_of_the_hub_is_no_stranger(make: Callable[..., Made], tmp_path: Path) -> None:
    made = make("bert")
    blobs, snapshot = tmp_path / "models--me--mine" / "blobs", tmp_path / "models--me--mine" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(made.folder.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert torch.equal(load(snapshot)(made.inputs)[0], made.answer)
    hf.AutoModel.from_pretrained(snapshot)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no files": ({"files": {}}, "lists no files"),
    "weights elsewhere": ({"weights": ["../model.safetensors"]}, "weights are"),
    "weights with a path": ({"weights": ["model.safetensors", "/etc/passwd"]}, "weights are"),
    "hash of another kind": ({"files": {"model.safetensors": "0"}}, "it does not list policy.json"),
    "another kind": ({"kind": "pickle"}, "kind is 'pickle'"),
    "a key too many": ({"trust_remote_code": True}, "unexpected keyword argument"),
    "a batch of millions": ({"target": {"batch": 10**9}}, "target.batch"),
    "flags that are none": ({"target": {"fingerprint": {"flags": 3}}}, "target.fingerprint.flags"),
    "a figure that is none": ({"record": {"measurements": {"latency": {"median": "x"}}}}, "measurements.latency"),
    "aliases of numbers": ({"aliases": {"a": 3}}, "aliases.a"),
}


@pytest.mark.parametrize("row", MANIFESTS)
def test_a_manifest_is_checked_field_by_field(row: str, make: Callable[..., Made]) -> None:
    changes, says = MANIFESTS[row]
    folder = make("bert").folder
    sign(folder, **changes)
    with pytest.raises(ArtifactError, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


ABSURD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "layers": lambda config: config.update(num_hidden_layers=10**6),
    "heads": lambda config: config.update(num_attention_heads=0),
    "vocabulary": lambda config: config.update(vocab_size=10**9, hidden_size=4096),
    "labels": lambda config: config.update(num_labels=10**8),
    "positions": lambda config: config.update(max_position_embeddings=10**8),
    "negative": lambda config: config.update(hidden_size=-4),
    "text": lambda config: config.update(hidden_size="large"),
    "a list": lambda config: config.update(num_hidden_layers=[2]),
    "a list of all": lambda _config: [],
    "no section": lambda config: config.pop("quantization_config") and None,
    "another method": lambda config: config["quantization_config"].update(quant_method="gptq"),
    "dtype": lambda config: config["quantization_config"].update(dtype="load"),
    "absent": lambda config: config["quantization_config"].update(absent=["no.such.module"]),
    "tied": lambda config: config["quantization_config"].update(tied={"no.such": "no.such.module"}),
    "policy": lambda config: config["quantization_config"]["policy"].update(layers=[]),
    "layer": lambda config: config["quantization_config"]["layers"][0].update(fqn="x", roles={}),
    "role": lambda config: config["quantization_config"]["layers"][0]["roles"].update(
        embedding={"fqn": "no.such", "start": 0, "stop": 1}
    ),
}


@pytest.mark.parametrize("row", ABSURD)
def test_a_config_beyond_its_weights_is_refused_before_it_is_built(row: str, make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    edit(folder, "config.json", ABSURD[row])
    with pytest.raises(ArtifactError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_automodel_does_not_build_a_million_layers(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    edit(folder, "config.json", ABSURD["layers"])
    with pytest.raises(ArtifactError, match="num_hidden_layers is 1000000, but its weights are"):
        hf.AutoModel.from_pretrained(folder)


def test_more_modules_than_the_weights_are_for(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the key is called that asks for them."""
    monkeypatch.setattr("autocompress.artifact.source.check_config", lambda *_: None)
    folder = make("bert").folder
    edit(folder, "config.json", ABSURD["layers"])
    with pytest.raises(ArtifactError, match="builds more than"):
        load(folder)
