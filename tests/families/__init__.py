"""Tiny models of many families, built from their configs, with random weights: real code, offline.

``FAMILIES`` are the few of the quick tests; ``ALL`` are those of `make coverage` as well.
"""

from __future__ import annotations

import transformers as hf
from torch import nn

from .audio import AUDIO
from .decoders import DECODERS, EXPERTS
from .encoder_decoders import ENCODER_DECODERS
from .encoders import ENCODERS
from .family import SEQUENCE, SIZES, TOKENS, VOCABULARY, Family, ids, noise, pairs
from .modules import MODULES
from .vision import VISION

__all__ = ["ALL", "FAMILIES", "SEQUENCE", "Family"]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 8))


FAMILIES = {
    "bert": Family(lambda: hf.BertModel(hf.BertConfig(vocab_size=VOCABULARY, **SIZES)), ids),
    "distilbert": Family(
        lambda: hf.DistilBertModel(
            hf.DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        ),
        ids,
    ),
    "gpt2": Family(
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, **TOKENS)
        ),
        ids,
        task="causal-lm",
    ),
    "llama": Family(
        lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **SIZES, **TOKENS)),
        ids,
        task="causal-lm",
    ),
    "vit": Family(
        lambda: hf.ViTForImageClassification(hf.ViTConfig(image_size=16, patch_size=4, num_labels=5, **SIZES)),
        noise("pixel_values", 3, 16, 16),
        task="image",
    ),
    "t5": Family(
        lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, num_layers=2, num_heads=4, d_ff=64)
        ),
        pairs,
        ffn=4,
        attention=6,
        task="seq2seq",
    ),
    "mlp": Family(_mlp, noise("input", 24), ffn=1, attention=0, task="other"),
}

ALL: dict[str, Family] = {
    **FAMILIES,
    **ENCODERS,
    **DECODERS,
    **EXPERTS,
    **ENCODER_DECODERS,
    **VISION,
    **AUDIO,
    **MODULES,
}
