"""Two small models with real weights, trained once on data that Python and scikit-learn carry, then cached.

    tiny_lm   a Llama over bytes, on the language reference in `pydoc_data.topics`; quality is test perplexity.
    tiny_vit  a ViT over patches of 2 x 2 pixels, on scikit-learn's digits; quality is test accuracy.

One seed gives the same rows, and the same weights at the same number of threads.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

Rows = dict[str, Tensor]

SPLITS = (96, 384, 256)
"""Rows for calibration, validation and test; training gets the others."""
BYTES = 128


@dataclass(frozen=True)
class Recipe:
    """Steps of AdamW on batches of ``batch`` rows; the learning rate warms up to ``rate`` and falls to zero."""

    steps: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Trained:
    """A model and what `autocompress.search` needs: data are calibration, validation and test rows."""

    name: str
    model: nn.Module
    data: tuple[Rows, Rows, Rows]
    task: str
    sequence: int
    metric: str
    quality: float


def tiny_lm(cache: Path, seed: int = 0) -> Trained:
    """A causal language model of four layers over bytes, trained on paragraphs of Python's documentation."""
    sizes = _sizes(width=160, inner=448, layers=4, heads=5)
    config = LlamaConfig(vocab_size=256, max_position_embeddings=2 * BYTES, use_cache=False, **sizes)
    train, data = _split({"input_ids": _byte_rows()}, seed)
    train["labels"] = train["input_ids"]
    model, how = _trained(LlamaForCausalLM, config, train, Recipe(320, 12, 3e-3), cache / "tiny-lm", seed)
    with torch.inference_mode():
        perplexity = math.exp(model(**data[2], labels=data[2]["input_ids"]).loss)
    print(f"tiny-lm: {how}; test perplexity {perplexity:.2f} a byte, unigram {_unigram(train['labels']):.2f}")
    return Trained("tiny-lm", model, data, "causal-lm", BYTES, "perplexity", perplexity)


def tiny_vit(cache: Path, seed: int = 0) -> Trained:
    """An image classifier of six layers, trained on the digits."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    sizes = _sizes(width=96, inner=384, layers=6, heads=4)
    config = ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **sizes)
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8.0 - 1.0
    train, data = _split({"pixel_values": pixels, "labels": torch.tensor(labels)}, seed)
    model, how = _trained(ViTForImageClassification, config, train, Recipe(400, 64, 1e-3), cache / "tiny-vit", seed)
    with torch.inference_mode():
        hits = model(pixel_values=data[2]["pixel_values"]).logits.argmax(dim=1) == data[2]["labels"]
    accuracy = float(hits.double().mean())
    print(f"tiny-vit: {how}; test accuracy {accuracy:.3f}")
    return Trained("tiny-vit", model, data, "image", 17, "accuracy", accuracy)


def _sizes(width: int, inner: int, layers: int, heads: int) -> dict[str, int]:
    """What the configurations of both models name alike."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return dict(zip(names, (width, inner, layers, heads), strict=True))


def _byte_rows() -> Tensor:
    """Every paragraph once, cut into rows of `BYTES` bytes that all differ: (rows, BYTES)."""
    paragraphs = dict.fromkeys(block for name in sorted(topics) for block in topics[name].split("\n\n"))
    text = "\n\n".join(paragraphs).encode()
    rows = dict.fromkeys(text[start : start + BYTES] for start in range(0, len(text) - BYTES + 1, BYTES))
    return torch.tensor([list(row) for row in rows])


def _split(rows: Rows, seed: int) -> tuple[Rows, tuple[Rows, Rows, Rows]]:
    """The rows for training, and those of the three splits, at random."""
    count = len(next(iter(rows.values())))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(list(accumulate(SPLITS)))
    calibration, validation, test, train = ({name: value[part] for name, value in rows.items()} for part in parts)
    return train, (calibration, validation, test)


def _trained(kind: Any, config: Any, train: Rows, recipe: Recipe, cache: Path, seed: int) -> tuple[nn.Module, str]:
    """The model from the cache, or trained and put there; and which of the two."""
    digest = hashlib.blake2b(f"{config.to_json_string()} {recipe} {seed} {torch.__version__}".encode(), digest_size=4)
    for name in sorted(train):
        digest.update(train[name].numpy().tobytes())
    folder = cache.with_name(f"{cache.name}-{digest.hexdigest()}")
    weights = folder / "model.safetensors"
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = kind(config).eval()
        if weights.exists():
            load_model(model, weights)
            return model, "loaded"
        _fit(model, train, recipe)
    config.save_pretrained(folder)
    part = weights.with_suffix(".part")
    save_model(model, str(part), metadata={"format": "pt"})
    part.rename(weights)
    return model, f"trained in {time.perf_counter() - start:.0f} s"


def _fit(model: nn.Module, train: Rows, recipe: Recipe) -> None:
    count = len(train["labels"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, recipe.steps, pct_start=0.1)
    needed = recipe.steps * recipe.batch
    order = torch.cat([torch.randperm(count) for _ in range(0, needed, count)])[:needed]
    model.train()
    for rows in order.reshape(recipe.steps, recipe.batch):
        loss = model(**{name: value[rows] for name, value in train.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _unigram(tokens: Tensor) -> float:
    """The perplexity of a model that knows only how often each byte occurs."""
    share = tokens.flatten().bincount().double() / tokens.numel()
    return math.exp(float(torch.special.entr(share).sum()))
