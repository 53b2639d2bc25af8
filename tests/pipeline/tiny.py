"""A search on a tiny BERT, as a script: ``python tiny.py OUT BUDGET [STAGE NUMBER]`` kills itself in that stage."""

from __future__ import annotations

import json
import os
import signal
import sys

import torch
import transformers as hf

import autocompress as ac
from autocompress.core.progress import Event, silent

ROWS, SEQUENCE = 96, 16


def model() -> hf.BertModel:
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=32,
    )
    return hf.BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)


def data() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 200, (ROWS, SEQUENCE), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def run(out: str, *budgets: str, progress=silent, **more):
    options = {"task": "embedding", "sequence": SEQUENCE, "threads": 1, "trials": 8, "sessions": 2, **more}
    return ac.search(model(), list(budgets), data=data(), out=out, progress=progress, **options)


def main() -> None:
    out, budget, *kill = sys.argv[1:]
    seen = {"count": 0}

    def progress(event: Event) -> None:
        if kill and event.stage == kill[0]:
            seen["count"] += 1
            if seen["count"] > int(kill[1]):
                os.kill(os.getpid(), signal.SIGKILL)

    result = run(out, budget, progress=progress)
    print(json.dumps(result.to_json()))


if __name__ == "__main__":
    main()
