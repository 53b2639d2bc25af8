"""Tiny models of every kind that an artifact must carry, compressed by the installed techniques, without a download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from autocompress.artifact import Record, save
from autocompress.compress import apply_policy, collect_statistics
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.measure.machine import detect_target
from autocompress.plugin.registry import Registry
from autocompress.structure import find_layers

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
IDS = {"bos_token_id": 1, "eos_token_id": 2}
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
LLAMA = {"vocab_size": 64, "num_key_value_heads": 2, **SMALL, **IDS}

MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: hf.BertModel(hf.BertConfig(vocab_size=64, **SMALL), add_pooling_layer=False),
    "bert-classifier": lambda: hf.BertForSequenceClassification(hf.BertConfig(vocab_size=64, **SMALL)),
    "distilbert": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    ),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, **IDS)),
    "llama-bf16": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA)).bfloat16(),
    "llama-tied": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA, tie_word_embeddings=True)),
    "vit": lambda: hf.ViTModel(hf.ViTConfig(image_size=32, patch_size=8, **SMALL)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**LLAMA, pad_token_id=0)),
    "gpt-neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(vocab_size=64, **SMALL, **IDS)),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(vocab_size=64, **SMALL, **IDS, pad_token_id=0, cls_token_id=1, sep_token_id=2)
    ),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, decoder_start_token_id=0)),
}


class Plain(nn.Module):
    """A module that no library knows; one buffer is not in its state, two linears share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.twin = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(32, 16)
        self.twin.weight = self.down.weight
        self.register_buffer("shift", torch.full((16,), 0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.up(x))
        return self.down(hidden) + self.twin(hidden) + self.shift


@dataclass
class Made:
    """A compressed model on disk, and what it answered before it was saved."""

    folder: Path
    model: nn.Module
    dense: nn.Module
    policy: Policy
    layers: tuple[Layer, ...]
    inputs: dict[str, Tensor]
    answer: Tensor


def build(kind: str, folder: Path, registry: Registry, record: Record | None = None) -> Made:
    """Compress a model by every stage at once, and save it."""
    dense, inputs = dense_model(kind)
    layers = find_layers(dense, inputs)
    policy = first_of_each_stage(layers, registry)
    names = sorted({name for layer in layers for name in layer.modules})
    model = apply_policy(dense, policy, layers, registry, collect_statistics(dense, names, [inputs]))
    target = detect_target("cpu", batch=2, sequence=8, threads=1)
    path = save(folder, model, policy, layers, target=target, registry=registry, example=inputs, record=record)
    return Made(path, model, dense, policy, layers, inputs, run(model, inputs))


def dense_model(kind: str) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = (Plain() if kind == "plain" else MODELS[kind]()).eval().requires_grad_(False)
    if kind == "plain":
        return model, {"x": torch.randn(2, 16)}
    if kind == "vit":
        return model, {"pixel_values": torch.randn(2, 3, 32, 32)}
    ids = torch.arange(16).reshape(2, 8)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return model, {**inputs, "decoder_input_ids": ids} if kind == "t5" else inputs


def first_of_each_stage(layers: tuple[Layer, ...], registry: Registry) -> Policy:
    """Every layer gets the first choice of the first technique that each stage has for it: widths and int8 at once."""
    target, chosen = detect_target("cpu", threads=1), {}
    ordered = sorted(registry.techniques.values(), key=lambda one: (one.stage, one.name != "int8", one.name))
    for layer in layers:
        steps, stages = [], set()
        for technique in ordered:
            if layer.kind not in technique.kinds or technique.stage in stages or technique.name == "svd":
                continue
            domain = technique.domain(layer, target)
            if domain is not None:
                params = {name: found.values()[0] for name, found in domain.items()}
                steps.append(Step(technique.name, params))
                stages.add(technique.stage)
        if steps:
            chosen[layer.fqn] = LayerPolicy(tuple(steps))
    return Policy(chosen)


def run(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        output = model(**inputs)
    return output if isinstance(output, Tensor) else output[0]
