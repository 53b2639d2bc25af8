"""What is saved loads: the same outputs, the same dtypes, for every architecture, also in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tiny_models import MODELS, Made, Plain, run

from autocompress.artifact import load
from autocompress.artifact.manifest import WEIGHTS
from autocompress.errors import ArtifactError

FRESH = """
import sys
import autocompress
assert "torch" not in sys.modules and "transformers" not in sys.modules
from safetensors.torch import load_file, save_file
inputs = load_file(sys.argv[1] + "/example.safetensors")
import torch
import transformers
loaded = getattr(transformers, sys.argv[2]).from_pretrained(sys.argv[1])
from autocompress.artifact import load
with torch.inference_mode():
    theirs = loaded(**inputs)[0]
ours = load(sys.argv[1])(inputs)[0]
save_file({"theirs": theirs, "ours": ours.clone()}, sys.argv[3])
"""


@pytest.mark.parametrize("kind", MODELS)
def test_every_architecture(kind: str, make: Callable[..., Made]) -> None:
    made = make(kind)
    artifact = load(made.folder)
    assert torch.equal(artifact(made.inputs)[0], made.answer)
    before, after = made.model.state_dict(), artifact.model.state_dict()
    assert {name: tensor.dtype for name, tensor in before.items()} == {
        name: tensor.dtype for name, tensor in after.items()
    }
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert artifact.policy == made.policy
    assert artifact.size < sum(t.nbytes for t in made.dense.state_dict().values())


@pytest.mark.parametrize(("kind", "auto"), [("bert", "AutoModel"), ("gpt2", "AutoModelForCausalLM")])
def test_a_fresh_process(kind: str, auto: str, make: Callable[..., Made], tmp_path: Path) -> None:
    made = make(kind)
    answers = tmp_path / "answers.safetensors"
    command = [sys.executable, "-c", FRESH, str(made.folder), auto, str(answers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for answer in load_file(answers).values():
        assert (answer - made.answer).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["bert-classifier", "gpt2", "t5"])
def test_the_bare_model_of_a_task_model(kind: str, make: Callable[..., Made]) -> None:
    made = make(kind)
    bare = hf.AutoModel.from_pretrained(made.folder)
    whole = load(made.folder).model
    assert type(bare) is not type(whole)
    theirs, ours = bare.state_dict(), whole.state_dict()
    prefix = "" if set(theirs) <= set(ours) else whole.base_model_prefix + "."
    assert all(torch.equal(tensor, ours[prefix + name]) for name, tensor in theirs.items())
    run(bare, made.inputs)


def test_transformers_can_save_it_again(make: Callable[..., Made], tmp_path: Path) -> None:
    made = make("bert")
    hf.AutoModel.from_pretrained(made.folder).save_pretrained(tmp_path / "again")
    assert torch.equal(run(hf.AutoModel.from_pretrained(tmp_path / "again"), made.inputs), made.answer)


def test_shared_weights_are_saved_once_and_shared_again(make: Callable[..., Made]) -> None:
    made = make("llama-tied")
    assert "lm_head.weight" not in load_file(made.folder / WEIGHTS)
    model = load(made.folder).model
    assert model.get_parameter("lm_head.weight") is model.get_parameter("model.embed_tokens.weight")


def test_another_dtype_is_not_forced_on_it(make: Callable[..., Made]) -> None:
    made = make("bert")
    assert torch.equal(run(hf.AutoModel.from_pretrained(made.folder, dtype=torch.float16), made.inputs), made.answer)


def test_a_plain_module_needs_its_base(make: Callable[..., Made]) -> None:
    made = make("plain")
    with pytest.raises(ArtifactError, match="base="):
        load(made.folder)
    with pytest.raises(ArtifactError, match="compressed from a Plain"):
        load(made.folder, base=torch.nn.Linear(1, 1))
    for base in (made.dense, Plain):
        artifact = load(made.folder, base=base)
        assert torch.equal(artifact(made.inputs), made.answer)
    assert torch.equal(run(made.dense, made.inputs), run(made.dense, made.inputs))
    assert not any(tensor.is_meta for tensor in made.dense.state_dict().values())


def test_a_tensor_too_many_or_too_few_is_an_error(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.artifact.reader.verify", lambda *_: None)
    made = make("bert")
    state = load_file(made.folder / WEIGHTS)
    name, tensor = state.popitem()
    save_file(state, made.folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="has no tensor"):
        load(made.folder)
    save_file({**state, name: tensor, "more": tensor.clone()}, made.folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="unexpected tensor 'more'"):
        load(made.folder)


def test_example_inputs_fit_another_shape(make: Callable[..., Made]) -> None:
    made = make("bert-classifier")
    artifact = load(made.folder)
    assert all(torch.equal(tensor, artifact.example()[name]) for name, tensor in made.inputs.items())
    wide = artifact.example(replace(artifact.target, batch=5, sequence=3))
    assert {name: tuple(tensor.shape) for name, tensor in wide.items()} == dict.fromkeys(wide, (5, 3))
    assert artifact(wide)[0].shape[0] == 5


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_loads_onto_a_card(make: Callable[..., Made]) -> None:
    made = make("llama-bf16")
    artifact = load(made.folder, device="cuda")
    assert all(tensor.is_cuda for tensor in artifact.model.state_dict().values())
