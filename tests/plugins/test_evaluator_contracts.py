"""The built-in evaluators keep the public contract, and the contract notices one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from autocompress_transformers import autocompress_evaluators
from autocompress_transformers.embeddings import EmbeddingFidelity
from autocompress_transformers.logits import LogitsFidelity
from autocompress_transformers.outputs import OutputFidelity
from torch import Tensor

from autocompress.evaluator import Batch, Evaluator, Run, Score
from autocompress.testing import EvaluatorContract


class TestEmbeddingFidelity(EvaluatorContract):
    evaluator = EmbeddingFidelity()

    def output(self, values: Tensor) -> Any:
        return {"last_hidden_state": values}


class TestLogitsFidelity(EvaluatorContract):
    evaluator = LogitsFidelity()

    def output(self, values: Tensor) -> Any:
        return {"logits": values}


class TestOutputFidelity(EvaluatorContract):
    evaluator = OutputFidelity()


def test_every_built_in_evaluator_is_tested_here() -> None:
    tested = {"embedding-fidelity", "logits-fidelity", "output-fidelity"}
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
