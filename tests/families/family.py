"""What a family is: how to build one tiny model, and inputs for it by number of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

VOCABULARY, SEQUENCE = 96, 8
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

Inputs = Callable[[int], dict[str, Tensor]]


@dataclass(frozen=True)
class Family:
    """``ffn`` and ``attention`` are how many groups are found, bound or noted; ``task`` names an evaluator's."""

    build: Callable[[], nn.Module]
    inputs: Inputs
    ffn: int = 2
    attention: int = 2
    task: str = "embedding"


def of_config(model: str, config: str, inputs: Inputs, *, task: str = "embedding", **sizes: Any) -> Family:
    """A Transformers class with random weights, by the names of the class and of its config."""
    return Family(lambda: getattr(hf, model)(getattr(hf, config)(**sizes)), inputs, task=task)


def ids(rows: int) -> dict[str, Tensor]:
    """Token ids without padding."""
    found = torch.randint(5, VOCABULARY, (rows, SEQUENCE), generator=torch.Generator().manual_seed(rows))
    return {"input_ids": found, "attention_mask": torch.ones_like(found)}


def pairs(rows: int) -> dict[str, Tensor]:
    """Token ids for an encoder and for a decoder."""
    return {**ids(rows), "decoder_input_ids": ids(rows)["input_ids"].flip(1)}


def noise(name: str, *shape: int) -> Inputs:
    """One input of normal noise: pixels, spectrograms, waves, features."""

    def make(rows: int) -> dict[str, Tensor]:
        return {name: torch.randn(rows, *shape, generator=torch.Generator().manual_seed(rows))}

    return make
