"""Fidelity is exactly 1 for the dense model itself, below 1 for a changed one, and right by hand on small numbers."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from autocompress_transformers.classes import ClassFidelity
from autocompress_transformers.embeddings import EmbeddingFidelity, pooled, retrieval
from autocompress_transformers.loader import Permissions, load
from autocompress_transformers.logits import KEPT, LogitsFidelity
from autocompress_transformers.outputs import OutputFidelity
from autocompress_transformers.tasks import AUTO_CLASSES

from autocompress.contracts.evaluator import Batch, Evaluator, Run
from autocompress.errors import TrialError
from autocompress.plugin.registry import load_registry

EVALUATORS: dict[str, Evaluator] = {
    "bert": EmbeddingFidelity(),
    "vit-encoder": EmbeddingFidelity(),
    "clip": EmbeddingFidelity(),
    "gpt2": LogitsFidelity(),
    "llama": LogitsFidelity(),
    "t5": LogitsFidelity(),
    "vit": ClassFidelity(),
    "bert-classifier": ClassFidelity(),
    "bert-tagger": ClassFidelity(),
    "bert-answers": LogitsFidelity(),
}


def runner(model: Any) -> Run:
    return lambda batch: model(**batch)


def padded(example: dict[str, torch.Tensor]) -> list[Batch]:
    """Two batches, the second half of each second row padded."""
    masked = {name: value.clone() for name, value in example.items()}
    for name in ("attention_mask", "decoder_attention_mask"):
        if name in masked:
            masked[name][1, masked[name].shape[1] // 2 :] = 0
    return [masked, {name: value[:1] for name, value in example.items()}]


def as_tuple(run: Run) -> Run:
    """What a runtime without named outputs returns."""
    return lambda batch: run(batch).to_tuple()


@pytest.mark.parametrize("kind", EVALUATORS)
def test_exact_for_itself_and_below_for_a_changed_model(models: Path, kind: str) -> None:
    found, evaluator = load(str(models / kind), None, Permissions()), EVALUATORS[kind]
    assert found.task in evaluator.tasks
    assert found.example is not None
    batches = padded(found.example(3, 12))
    dense = runner(found.model)
    reference = evaluator.reference(dense, batches)
    same = evaluator.score(dense, batches, reference)
    assert same.value == 1.0
    assert same.per_row == (1.0,) * 4
    changed = copy.deepcopy(found.model)
    generator = torch.Generator().manual_seed(1)
    for parameter in changed.parameters():
        parameter.data += 0.2 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)
    worse = evaluator.score(runner(changed), batches, reference)
    assert 0 < worse.value < 1
    assert len(worse.per_row) == 4
    assert max(worse.per_row) < 1


@pytest.mark.parametrize("kind", ["bert", "gpt2", "bert-answers", "vit"])
def test_unnamed_outputs_score_as_named_ones(models: Path, kind: str) -> None:
    found, evaluator = load(str(models / kind), None, Permissions()), EVALUATORS[kind]
    assert found.example is not None
    batches = padded(found.example(3, 12))
    reference = evaluator.reference(runner(found.model), batches)
    assert evaluator.score(as_tuple(runner(found.model)), batches, reference).value == 1.0


@pytest.mark.parametrize("kind", ["bert", "gpt2", "bert-tagger", "bert-answers"])
def test_padding_does_not_count(models: Path, kind: str) -> None:
    found, evaluator = load(str(models / kind), None, Permissions()), EVALUATORS[kind]
    assert found.example is not None
    batches = padded(found.example(3, 12))
    dense = runner(found.model)

    def disturbed(batch: Batch) -> Any:
        output = dense(batch)
        for name, value in output.items():
            noise = 100.0 * (1.0 - batch["attention_mask"].float())
            output[name] = value + (noise if value.ndim == 2 else noise.unsqueeze(-1))
        return output

    score = evaluator.score(disturbed, batches, evaluator.reference(dense, batches))
    assert score.value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("evaluator", [EmbeddingFidelity(), ClassFidelity(), LogitsFidelity(), OutputFidelity()])
def test_outputs_that_cannot_be_scored_fail_the_trial(evaluator: Evaluator) -> None:
    batches = [{"input_ids": torch.ones(2, 3, dtype=torch.long)}]
    reference = evaluator.reference(lambda _: torch.rand(2, 3, 4), batches)
    for bad in (torch.full((2, 3, 4), math.nan), torch.full((2, 3, 4), math.inf), torch.rand(2, 3, 5), "text", ()):
        with pytest.raises(TrialError) as caught:
            evaluator.score(lambda _, bad=bad: bad, batches, reference)
        assert "\n" not in str(caught.value)


def test_divergence_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.75, 0.25], [0.9, 0.1]])
    evaluator, batches = LogitsFidelity(), [{"x": torch.zeros(2)}]
    score = evaluator.score(lambda _: q.log(), batches, evaluator.reference(lambda _: p.log(), batches))
    first = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    spread = (math.log(0.5 / 0.7) + math.log(0.5 / 0.3) + 1.8 * math.log(0.9 / 0.7) + 0.2 * math.log(0.1 / 0.3)) / 4
    assert score.details["kl"] == pytest.approx(first / 2, abs=1e-6)
    assert score.details["spread"] == pytest.approx(spread, abs=1e-6)
    assert score.value == pytest.approx(math.exp(-first / 2 / spread), abs=1e-6)
    assert score.per_row == pytest.approx((math.exp(-first / spread), 1.0), abs=1e-6)


def test_a_divergence_counts_in_nats_where_dense_predictions_differ_by_more_than_one() -> None:
    p = 20 * torch.eye(4)
    q = p + torch.tensor([0.0, 19.0, 0.0, 0.0])
    evaluator, batches = LogitsFidelity(), [{"x": torch.zeros(4)}]
    score = evaluator.score(lambda _: q, batches, evaluator.reference(lambda _: p, batches))
    assert score.details["spread"] == pytest.approx(math.log(4), abs=1e-4)
    assert score.value == pytest.approx(math.exp(-score.details["kl"]), abs=1e-9)


def test_many_classes_bound_the_divergence_from_below() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (3 * torch.randn(6, 10 * KEPT, generator=generator) for _ in range(2))
    evaluator, batches = LogitsFidelity(), [{"x": torch.zeros(6)}]
    found = evaluator.score(lambda _: q, batches, evaluator.reference(lambda _: p, batches)).details["kl"]
    log_p, log_q = p.double().log_softmax(1), q.double().log_softmax(1)
    exact = float((log_p.exp() * (log_p - log_q)).sum(1).mean())
    assert 0.5 * exact < found < exact


def test_perplexity_is_that_of_the_models_own_loss(models: Path) -> None:
    found = load(str(models / "gpt2"), None, Permissions())
    assert found.example is not None
    batch = found.example(3, 12)
    evaluator, run = LogitsFidelity(), runner(found.model)
    details = evaluator.score(run, [batch], evaluator.reference(run, [batch])).details
    loss = float(found.model(**batch, labels=batch["input_ids"]).loss)
    assert details["perplexity_dense"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert details["perplexity_compressed"] == details["perplexity_dense"]


@pytest.mark.parametrize(
    ("kind", "agreement"),
    [("t5", "top1_agreement"), ("bert-tagger", "token_agreement"), ("bert-classifier", "top1_agreement")],
)
def test_only_language_models_have_a_perplexity(models: Path, kind: str, agreement: str) -> None:
    found = load(str(models / kind), None, Permissions())
    assert found.example is not None
    batch = {name: value % 5 if name == "input_ids" else value for name, value in found.example(3, 12).items()}
    evaluator, run = EVALUATORS[kind], runner(found.model)
    details = evaluator.score(run, [batch], evaluator.reference(run, [batch])).details
    assert set(details) == {"kl", "spread", agreement}


def test_pooling_is_the_mean_over_tokens_that_are_not_padding() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [90.0, 90.0]]])
    assert pooled(hidden, {"attention_mask": torch.tensor([[1, 1, 0]])}).tolist() == [[2.0, 3.0]]
    assert pooled(hidden[:, :2], {}).tolist() == [[2.0, 3.0]]


def test_retrieval_counts_rows_whose_nearest_other_row_is_of_their_group() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.3], [0.1, 1.0]])
    groups = torch.tensor([0, 0, 1, 1, 2])
    # rows 0 and 1 find each other; 2 finds 4, 3 finds 1; group 2 has one row, so row 4 does not count
    assert retrieval(embeddings, groups) == pytest.approx(2 / 4)
    assert retrieval(embeddings, torch.arange(5)) is None


def test_retrieval_is_reported_where_rows_have_groups(models: Path) -> None:
    found = load(str(models / "bert"), None, Permissions())
    assert found.example is not None
    batch = found.example(4, 8)
    evaluator = EmbeddingFidelity()
    run: Run = lambda batch: found.model(**{k: v for k, v in batch.items() if k != "group"})  # noqa: E731
    grouped = [{**batch, "group": torch.tensor([0, 0, 1, 1])}]
    details = evaluator.score(run, grouped, evaluator.reference(run, grouped)).details
    assert set(details) == {"p5_cosine", "retrieval_dense", "retrieval_compressed"}
    assert details["retrieval_dense"] == details["retrieval_compressed"]
    plain = evaluator.score(run, [batch], evaluator.reference(run, [batch])).details
    assert set(plain) == {"p5_cosine"}


def test_nested_outputs_are_compared_where_the_outermost_tensors_are() -> None:
    @dataclass
    class Answer:
        parts: tuple[dict[str, torch.Tensor], int]

    evaluator, batches = OutputFidelity(), [{"x": torch.zeros(2)}]
    reference = evaluator.reference(lambda _: Answer(({"h": torch.tensor([[1.0, 0.0]])}, 3)), batches)
    score = evaluator.score(lambda _: Answer(({"h": torch.tensor([[1.0, 1.0]])}, 3)), batches, reference)
    assert score.value == pytest.approx(2**-0.5)


def test_any_output_can_be_compared() -> None:
    evaluator, batches = OutputFidelity(), [{"x": torch.zeros(2)}]
    reference = evaluator.reference(lambda _: (torch.tensor([1]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])), batches)
    score = evaluator.score(lambda _: {"y": torch.tensor([[2.0, 0.0], [1.0, 1.0]])}, batches, reference)
    assert score.per_row == pytest.approx((1.0, 2**-0.5))


SEVERAL, ONE = torch.rand(2, 3), torch.rand(2, 1)


@pytest.mark.parametrize("task", AUTO_CLASSES)
def test_every_task_has_one_default_evaluator_for_an_output_of_its_kind(task: str) -> None:
    evaluators = [one for one in load_registry().evaluators.values() if task in one.tasks and not one.needs]
    suited = [one.name for one in evaluators if not one.unsuited(SEVERAL, [])]
    assert suited[1:] in ([], ["value-fidelity"])
    assert suited[0] == "value-fidelity" or task != "regression"


@pytest.mark.parametrize("task", ["classification", "image", "token-classification", "regression", "other"])
def test_one_output_is_a_quantity_whatever_the_task(task: str) -> None:
    evaluators = [one for one in load_registry().evaluators.values() if task in one.tasks]
    assert [one.name for one in evaluators if not one.unsuited(ONE, [])] == ["value-fidelity"]
