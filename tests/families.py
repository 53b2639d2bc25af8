"""Tiny models of many families, built from their configs, with random weights: real code, offline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers as hf
from torch import Tensor, nn

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
VOCABULARY, SEQUENCE = 96, 8


@dataclass(frozen=True)
class Family:
    """How to build one tiny model, and inputs for it by number of rows."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], dict[str, Tensor]]
    ffn: int = 2
    attention: int = 2


def _ids(rows: int) -> dict[str, Tensor]:
    ids = torch.randint(5, VOCABULARY, (rows, SEQUENCE), generator=torch.Generator().manual_seed(rows))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _pixels(rows: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(rows, 3, 16, 16, generator=torch.Generator().manual_seed(rows))}


def _pairs(rows: int) -> dict[str, Tensor]:
    return {**_ids(rows), "decoder_input_ids": _ids(rows)["input_ids"].flip(1)}


def _numbers(rows: int) -> dict[str, Tensor]:
    return {"input": torch.randn(rows, 24, generator=torch.Generator().manual_seed(rows))}


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 8))


_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
FAMILIES = {
    "bert": Family(lambda: hf.BertModel(hf.BertConfig(vocab_size=VOCABULARY, **SIZES)), _ids),
    "distilbert": Family(
        lambda: hf.DistilBertModel(
            hf.DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        ),
        _ids,
    ),
    "gpt2": Family(
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, **_IDS)
        ),
        _ids,
    ),
    "llama": Family(
        lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **SIZES, **_IDS)), _ids
    ),
    "vit": Family(
        lambda: hf.ViTForImageClassification(hf.ViTConfig(image_size=16, patch_size=4, num_labels=5, **SIZES)), _pixels
    ),
    "t5": Family(
        lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, num_layers=2, num_heads=4, d_ff=64)
        ),
        _pairs,
        ffn=4,
        attention=6,
    ),
    "mlp": Family(_mlp, _numbers, ffn=1, attention=0),
}
