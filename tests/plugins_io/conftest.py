"""Tiny real models, one of each kind, saved as Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "fast", "slow", "red", "blue", "and", "of"],
]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
IDS = {"bos_token_id": 2, "eos_token_id": 3}


def bert(**more: Any) -> hf.BertConfig:
    return hf.BertConfig(vocab_size=64, max_position_embeddings=48, **SMALL, **more)


def gpt2(**more: Any) -> hf.GPT2Config:
    return hf.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=48, **IDS, **more)


def vit(**more: Any) -> hf.ViTConfig:
    return hf.ViTConfig(image_size=32, patch_size=8, **SMALL, **more)


def t5() -> hf.T5Config:
    size = {"vocab_size": 64, "d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4, "d_kv": 8}
    return hf.T5Config(**size, decoder_start_token_id=0)


KINDS = {
    "bert": lambda: hf.BertModel(bert()),
    "bert-masked": lambda: hf.BertForMaskedLM(bert()),
    "bert-classifier": lambda: hf.BertForSequenceClassification(bert(num_labels=3)),
    "bert-tagger": lambda: hf.BertForTokenClassification(bert(num_labels=5)),
    "bert-answers": lambda: hf.BertForQuestionAnswering(bert()),
    "gpt2": lambda: hf.GPT2LMHeadModel(gpt2()),
    "gpt2-classifier": lambda: hf.GPT2ForSequenceClassification(gpt2(num_labels=3)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=64, num_key_value_heads=2, **SMALL)),
    "vit": lambda: hf.ViTForImageClassification(vit(num_labels=4)),
    "vit-encoder": lambda: hf.ViTModel(vit()),
    "t5": lambda: hf.T5ForConditionalGeneration(t5()),
    "t5-encoder": lambda: hf.T5EncoderModel(t5()),
    "clip": lambda: hf.CLIPModel(
        hf.CLIPConfig(
            text_config={"vocab_size": 64, "max_position_embeddings": 32, **SMALL, **IDS},
            vision_config={"image_size": 32, "patch_size": 8, **SMALL},
        )
    ),
}


def write_tokenizer(folder: Path) -> None:
    """A real word-level tokenizer of the BERT kind."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    hf.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one saved model of each kind; read only."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, build in KINDS.items():
        build().save_pretrained(root / name)
    for name in ("bert", "bert-classifier", "gpt2", "t5"):
        write_tokenizer(root / name)
    return root
