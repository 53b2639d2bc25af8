"""What a model and its data are decides how quality is measured, and what of the data is not used is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from autocompress.errors import UsageError
from autocompress.request.request import SearchRequest
from autocompress.request.setup import Setup, check_names, set_up

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
IDS = torch.randint(5, 64, (60, 8), generator=torch.Generator().manual_seed(0))


def setup_of(model: Any, data: dict[str, Tensor], **more: Any) -> Setup:
    request = SearchRequest(model=model, budgets=("75%",), data=data, sequence=8, threads=1, **more)
    return set_up(request, check_names(request), lambda _: None)


@pytest.mark.parametrize(
    ("config", "labels", "evaluator"),
    [
        ({"num_labels": 3}, None, "class-fidelity"),
        ({"num_labels": 3}, torch.arange(60) % 3, "accuracy"),
        ({"num_labels": 1}, None, "value-fidelity"),
        ({"num_labels": 1}, torch.rand(60), "value-fidelity"),
        ({"num_labels": 3, "problem_type": "regression"}, None, "value-fidelity"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, None, "label-fidelity"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, torch.ones(60, 3), "label-fidelity"),
    ],
)
def test_a_classifiers_config_and_labels_choose(
    tmp_path: Path, config: dict[str, Any], labels: Tensor | None, evaluator: str
) -> None:
    torch.manual_seed(0)
    hf.BertForSequenceClassification(hf.BertConfig(vocab_size=64, **SMALL, **config)).save_pretrained(tmp_path)
    data = {"input_ids": IDS} if labels is None else {"input_ids": IDS, "labels": labels}
    setup = setup_of(str(tmp_path), data)
    assert setup.evaluator.name == evaluator
    told = [note for note in setup.notes if note.startswith("labels are given")]
    assert len(told) == (labels is not None and evaluator != "accuracy")


def test_a_tagger_is_judged_token_by_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    hf.BertForTokenClassification(hf.BertConfig(vocab_size=64, num_labels=5, **SMALL)).save_pretrained(tmp_path)
    assert setup_of(str(tmp_path), {"input_ids": IDS}).evaluator.name == "class-fidelity"
    assert setup_of(str(tmp_path), {"input_ids": IDS, "labels": IDS % 5}).evaluator.name == "accuracy"


class Net(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs))

    def forward(self, signal: Tensor) -> Tensor:
        out: Tensor = self.body(signal)
        return out


SIGNAL = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("outputs", "task", "evaluator"),
    [(1, None, "value-fidelity"), (3, None, "output-fidelity"), (1, "classification", "value-fidelity")],
)
def test_one_output_of_any_module_is_a_quantity(outputs: int, task: str | None, evaluator: str) -> None:
    assert setup_of(Net(outputs), {"signal": SIGNAL}, task=task).evaluator.name == evaluator


def test_an_evaluator_that_is_blind_here_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'output-fidelity' cannot judge this model: there is one output a row"):
        setup_of(Net(1), {"signal": SIGNAL}, evaluator="output-fidelity")
    with pytest.raises(UsageError, match=r"evaluator 'accuracy' needs labels, and the data has none"):
        setup_of(Net(3), {"signal": SIGNAL}, evaluator="accuracy")
