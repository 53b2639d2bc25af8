"""The built-in evaluators keep the public contract, and the contract notices one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from autocompress_transformers import autocompress_evaluators
from autocompress_transformers.classes import Accuracy, ClassFidelity
from autocompress_transformers.embeddings import EmbeddingFidelity
from autocompress_transformers.logits import LogitsFidelity
from autocompress_transformers.multilabel import LabelFidelity
from autocompress_transformers.outputs import OutputFidelity
from autocompress_transformers.values import ValueFidelity
from torch import Tensor

from autocompress.contracts.evaluator import Batch, Evaluator, Run, Score
from autocompress.testing import EvaluatorContract


class TestEmbeddingFidelity(EvaluatorContract):
    evaluator = EmbeddingFidelity()

    def output(self, values: Tensor) -> Any:
        return {"last_hidden_state": values}


class TestLogitsFidelity(EvaluatorContract):
    evaluator = LogitsFidelity()

    def output(self, values: Tensor) -> Any:
        return {"logits": values}


class TestClassFidelity(EvaluatorContract):
    evaluator = ClassFidelity()

    def output(self, values: Tensor) -> Any:
        return {"logits": values[:, 0]}


class TestAccuracy(EvaluatorContract):
    evaluator = Accuracy()

    def output(self, values: Tensor) -> Any:
        return {"logits": values[:, 0]}

    def batches(self) -> Sequence[Batch]:
        """Labels that the dense model gets right, but for the first of a batch."""
        dense = self.model(0.0)
        made = [{**batch, "labels": dense(batch)["logits"].argmax(dim=1)} for batch in super().batches()]
        return [{**batch, "labels": torch.cat([31 - batch["labels"][:1], batch["labels"][1:]])} for batch in made]


class TestLabelFidelity(EvaluatorContract):
    evaluator = LabelFidelity()

    def output(self, values: Tensor) -> Any:
        return {"logits": values[:, 0]}


class TestValueFidelity(EvaluatorContract):
    evaluator = ValueFidelity()

    def output(self, values: Tensor) -> Any:
        return {"logits": values[:, 0, :1]}


class TestOutputFidelity(EvaluatorContract):
    evaluator = OutputFidelity()


def test_every_built_in_evaluator_is_tested_here() -> None:
    tested = {one.evaluator.name for one in EvaluatorContract.__subclasses__() if one.__module__ == __name__}
    assert {evaluator.name for evaluator in autocompress_evaluators()} == tested


class Blind(Evaluator):
    """Never looks at the outputs."""

    name: ClassVar[str] = "blind"
    metric: ClassVar[str] = "nothing"

    def reference(self, run: Run, batches: Sequence[Batch]) -> Any:  # noqa: ARG002
        return None

    def score(self, run: Run, batches: Sequence[Batch], reference: Any) -> Score:  # noqa: ARG002
        return Score(1.0, per_row=(1.0,))


@pytest.mark.parametrize("test", ["test_more_noise_is_never_better", "test_rows_agree_with_the_value"])
def test_the_contract_catches_a_blind_evaluator(test: str) -> None:
    contract = EvaluatorContract()
    contract.evaluator = Blind()  # type: ignore[misc]
    with pytest.raises(AssertionError):
        getattr(contract, test)()
