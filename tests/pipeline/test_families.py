"""One search code for every architecture: bound, compressed, saved, verified in fresh processes, loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf
from families import FAMILIES, SEQUENCE

from autocompress import load, search
from autocompress.structure import call, main_output

TASKS = {
    "bert": "embedding",
    "distilbert": "embedding",
    "gpt2": "causal-lm",
    "llama": "causal-lm",
    "vit": "image",
    "t5": "seq2seq",
}


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("name", TASKS)
def test_a_search_on_every_family(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    torch.manual_seed(0)
    model = family.build().eval().requires_grad_(False)
    result = search(
        model,
        "size=97%",
        data=family.inputs(48),
        task=TASKS[name],
        space="full",
        sequence=SEQUENCE,
        threads=1,
        trials=3,
        sessions=2,
        out=tmp_path / "run",
    )
    assert result.kept, result.verdict_line()
    best = result.best
    assert best is not None
    assert best.policy.layers
    inputs = family.inputs(2)
    measured = main_output(call(best.model, inputs))
    torch.testing.assert_close(main_output(call(load(best.path).model, inputs)), measured, rtol=0, atol=1e-5)
    known = getattr(hf, type(model).__name__).from_pretrained(best.path)
    torch.testing.assert_close(main_output(call(known.eval(), inputs)), measured, rtol=0, atol=1e-5)
