"""Models of every kind load from a folder with the right class, task, inputs and tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers as hf
from autocompress_transformers.loader import Permissions, load

from autocompress.errors import ModelError
from autocompress.plugin.registry import load_registry

EXPECTED = {
    "bert": ("embedding", "BertModel"),
    "bert-masked": ("embedding", "BertModel"),
    "bert-classifier": ("classification", "BertForSequenceClassification"),
    "bert-tagger": ("token-classification", "BertForTokenClassification"),
    "bert-answers": ("question-answering", "BertForQuestionAnswering"),
    "gpt2": ("causal-lm", "GPT2LMHeadModel"),
    "gpt2-classifier": ("classification", "GPT2ForSequenceClassification"),
    "llama": ("causal-lm", "LlamaForCausalLM"),
    "vit": ("image", "ViTForImageClassification"),
    "vit-encoder": ("embedding", "ViTModel"),
    "t5": ("seq2seq", "T5ForConditionalGeneration"),
    "t5-encoder": ("embedding", "T5EncoderModel"),
    "clip": ("embedding", "CLIPModel"),
}
TEXTS = ["the cat sat on the mat", "a dog"]


@pytest.mark.parametrize("kind", EXPECTED)
def test_loads_with_task_and_class_and_runs_its_example(models: Path, kind: str) -> None:
    found = load(str(models / kind), None, Permissions())
    assert (found.task, type(found.model).__name__) == EXPECTED[kind]
    assert not found.model.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in found.model.parameters())
    assert found.folder == models / kind
    assert any(found.task in note and "--task" in note for note in found.notes)
    assert found.example is not None
    first, again = found.example(3, 16), found.example(3, 16)
    assert all(len(value) == 3 and torch.equal(value, again[name]) for name, value in first.items())
    output = found.model(**first)
    assert torch.isfinite(output[0]).all()


def test_the_weights_are_those_of_the_checkpoint(models: Path) -> None:
    found = load(str(models / "bert"), None, Permissions())
    whole = hf.BertModel.from_pretrained(models / "bert").eval()
    inputs = found.example(2, 8)
    with torch.no_grad():
        assert torch.equal(found.model(**inputs).last_hidden_state, whole(**inputs).last_hidden_state)
    assert not any("pooler" in name for name, _ in found.model.named_modules())
    assert any("pooler" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_encode_pads_cuts_and_runs(models: Path, kind: str) -> None:
    found = load(str(models / kind), None, Permissions())
    inputs = found.encode(TEXTS, 6)
    assert {value.shape for value in inputs.values()} == {(2, 6)}
    assert inputs["attention_mask"][0].all()  # cut
    assert not inputs["attention_mask"][1].all()  # padded
    assert ("token_type_ids" in inputs) == (kind == "bert")
    assert ("decoder_input_ids" in inputs) == (kind == "t5")
    assert torch.isfinite(found.model(**inputs)[0]).all()


def test_decoder_inputs_are_the_text_shifted_behind_the_start_token(models: Path) -> None:
    inputs = load(str(models / "t5"), None, Permissions()).encode(TEXTS, 6)
    assert inputs["decoder_input_ids"][:, 0].tolist() == [0, 0]
    assert torch.equal(inputs["decoder_input_ids"][:, 1:], inputs["input_ids"][:, :-1])
    assert torch.equal(inputs["decoder_attention_mask"][:, 1:], inputs["attention_mask"][:, :-1])


def test_a_tokenizer_without_padding_is_given_one(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "gpt2", tmp_path / "gpt2")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"pad_token": None, "eos_token": "[SEP]", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert hf.AutoTokenizer.from_pretrained(folder).pad_token is None
    inputs = load(str(folder), None, Permissions()).encode(TEXTS, 12)
    assert inputs["input_ids"][1, -1] == 3
    assert inputs["attention_mask"][1, -1] == 0


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_single_pass_keeps_no_keys_and_values(models: Path, kind: str) -> None:
    found = load(str(models / kind), None, Permissions())
    assert found.model(**found.example(1, 8)).past_key_values is None


def test_without_tokenizer_or_with_two_towers_there_is_no_encode(models: Path) -> None:
    assert load(str(models / "llama"), None, Permissions()).encode is None
    assert load(str(models / "clip"), None, Permissions()).encode is None


def test_a_sequence_beyond_the_positions_is_refused(models: Path) -> None:
    found = load(str(models / "bert"), None, Permissions())
    for call in (lambda: found.example(1, 49), lambda: found.encode(TEXTS, 49)):
        with pytest.raises(ModelError, match="longer than the 48 positions of the model; give --sequence 48 or less"):
            call()
    assert found.example(1, 48)["input_ids"].shape == (1, 48)


def test_the_task_given_chooses_the_class(models: Path) -> None:
    found = load(str(models / "bert-classifier"), "embedding", Permissions())
    assert (found.task, type(found.model).__name__) == ("embedding", "BertModel")
    assert not any("guessed" in note for note in found.notes)


def test_the_registry_finds_folders_through_the_hook(models: Path) -> None:
    found = load_registry().manager.hook.autocompress_load_model(
        source=str(models / "bert"), task=None, trust_remote_code=False, allow_pickle=False
    )
    assert found.task == "embedding"


def test_sharded_weights_load(models: Path, tmp_path: Path) -> None:
    whole = hf.GPT2LMHeadModel.from_pretrained(models / "gpt2")
    whole.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    found = load(str(tmp_path / "shards"), None, Permissions())
    assert torch.equal(found.model.lm_head.weight, whole.lm_head.weight)
