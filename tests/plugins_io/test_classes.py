"""Quality of classifiers and regressors moves with what their outputs are for: the class, the labels, the order."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from autocompress_transformers.classes import Accuracy, ClassFidelity
from autocompress_transformers.loader import Permissions, load
from autocompress_transformers.logits import LogitsFidelity
from autocompress_transformers.multilabel import LabelFidelity
from autocompress_transformers.outputs import OutputFidelity
from autocompress_transformers.values import ValueFidelity
from torch import Tensor

from autocompress.contracts.evaluator import Batch, Evaluator, Run, Score
from autocompress.errors import DataError
from autocompress.plugin.registry import load_registry

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def bert(**more: Any) -> hf.BertForSequenceClassification:
    torch.manual_seed(0)
    return hf.BertForSequenceClassification(hf.BertConfig(vocab_size=64, **SMALL, **more)).eval()


def noisy(model: torch.nn.Module, size: float) -> torch.nn.Module:
    """Every weight moved by a share of its tensor's deviation."""
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    for parameter in changed.parameters():
        parameter.data += size * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)
    return changed


def ids(rows: int = 96) -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    return [{"input_ids": torch.randint(5, 64, (rows // 2, 12), generator=generator)} for _ in range(2)]


def runner(model: torch.nn.Module) -> Run:
    return lambda batch: model(**{name: value for name, value in batch.items() if name != "labels"})


def scored(evaluator: Evaluator, dense: Any, other: Any, batches: list[Batch]) -> Score:
    reference = evaluator.reference(dense, batches)
    assert evaluator.score(dense, batches, reference).value == pytest.approx(1.0, abs=0)
    return evaluator.score(other, batches, reference)


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_noise_that_leaves_no_agreement_leaves_no_quality_of_a_flat_classifier(classes: int) -> None:
    model = bert(num_labels=classes)
    batches = ids()
    mild, wild = (scored(ClassFidelity(), runner(model), runner(noisy(model, s)), batches) for s in (0.02, 2.0))
    assert math.exp(-wild.details["kl"]) > 0.99  # flat predictions: the divergence alone says nothing
    assert wild.value < wild.details["top1_agreement"] + 0.01
    assert classes < 10 or wild.value < 0.3
    assert mild.details["top1_agreement"] > 0.9
    assert mild.value > 0.99


def test_a_confident_classifier_that_keeps_its_classes_keeps_its_quality() -> None:
    dense = torch.tensor([[6.0, 0.0], [7.0, 0.0], [6.5, 0.0], [5.0, 0.0]])  # one class only, hardly any spread
    batches = [{"x": torch.zeros(4)}]
    kept = scored(ClassFidelity(), lambda _: dense, lambda _: dense + 0.1, batches)
    assert kept.value == pytest.approx(1.0)
    moved = scored(ClassFidelity(), lambda _: dense, lambda _: dense * torch.tensor([0.9, 1.0]), batches)
    assert moved.value > 0.8
    lost = scored(ClassFidelity(), lambda _: dense, lambda _: -dense, batches)
    assert lost.value < 0.01


def test_one_row_that_changes_its_class_costs_at_most_one_row() -> None:
    dense = torch.cat([8 * torch.eye(4)] * 4)
    other = dense.clone()
    other[0] = dense[1]
    score = scored(ClassFidelity(), lambda _: dense, lambda _: other, [{"x": torch.zeros(16)}])
    assert score.value == pytest.approx(15 / 16, abs=1e-3)
    assert score.per_row[0] < 0.01
    assert score.details["top1_agreement"] == 15 / 16


def test_tokens_are_told_as_tokens_and_padding_does_not_count() -> None:
    batch = {"input_ids": torch.ones(2, 3, dtype=torch.long), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])}
    dense = torch.zeros(2, 3, 2)
    dense[0, :, 0], dense[1, :, 1] = 4.0, 4.0
    other = dense.clone()
    other[0, 0] = dense[1, 0]
    other[1, 1:] = dense[0, 1:]
    details = scored(ClassFidelity(), lambda _: dense, lambda _: other, [batch]).details
    assert details["token_agreement"] == 3 / 4
    assert "perplexity_dense" not in details


def test_a_regressor_is_measured_by_the_spread_of_its_outputs() -> None:
    model, batches = bert(num_labels=1), ids()
    little, much = (scored(ValueFidelity(), runner(model), runner(noisy(model, s)), batches) for s in (0.01, 1.0))
    assert 0.9 < little.value < 1
    assert much.value < 0.5
    assert much.details["rank_correlation"] < 0.7 < little.details["rank_correlation"]
    dense = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    one = [{"x": torch.zeros(4)}]
    assert scored(ValueFidelity(), lambda _: dense, lambda _: torch.full((4, 1), 3.0), one).value == pytest.approx(0.0)
    turned = scored(ValueFidelity(), lambda _: dense, lambda _: -dense, one)
    assert turned.value < 0
    assert turned.details["rank_correlation"] == pytest.approx(-1.0)


def test_columns_of_any_scale_count_alike_and_a_constant_one_is_no_division_by_zero() -> None:
    dense = torch.tensor([[1.0, 1000.0, 5.0], [2.0, 3000.0, 5.0], [3.0, 2000.0, 5.0]])
    shifted = dense + torch.tensor([1.0, 0.0, 0.0])
    score = scored(ValueFidelity(), lambda _: dense, lambda _: shifted, [{"x": torch.zeros(3)}])
    assert score.value == pytest.approx(1 - 1.0 / (2 / 3) / 3) or score.value > 0.99
    assert math.isfinite(score.value)
    single = scored(ValueFidelity(), lambda _: torch.zeros(1, 1), lambda _: torch.ones(1, 1), [{"x": torch.zeros(1)}])
    assert math.isfinite(single.value)


def test_every_label_is_a_decision_of_its_own() -> None:
    dense = torch.tensor([[4.0, 4.0, -4.0], [-4.0, 4.0, 4.0], [4.0, -4.0, 4.0], [-4.0, -4.0, -4.0]])
    batches = [{"x": torch.zeros(4)}]
    other = dense.clone()
    other[0, 2] = 4.0
    score = scored(LabelFidelity(), lambda _: dense, lambda _: other, batches)
    assert score.details["label_agreement"] == 11 / 12
    assert score.value == pytest.approx(11 / 12, abs=0.01)
    # A softmax over labels cannot see that all of them became a yes: no logit moved against another one.
    raised = dense + 8.0
    assert scored(ClassFidelity(), lambda _: dense, lambda _: raised, batches).value == pytest.approx(1.0)
    assert scored(LabelFidelity(), lambda _: dense, lambda _: raised, batches).value < 0.6


@pytest.mark.parametrize(
    ("more", "task", "words"),
    [
        ({"num_labels": 1}, "regression", "1 output, a quantity"),
        ({"num_labels": 4, "problem_type": "regression"}, "regression", "4 outputs, a quantity"),
        ({"num_labels": 4, "problem_type": "multi_label_classification"}, "multi-label", "yes or no"),
        ({"num_labels": 4}, "classification", "guessed"),
    ],
)
def test_the_config_tells_what_a_row_of_logits_is(tmp_path: Path, more: dict[str, Any], task: str, words: str) -> None:
    bert(**more).save_pretrained(tmp_path)
    found = load(str(tmp_path), None, Permissions())
    assert found.task == task
    assert any(words in note for note in found.notes)
    assert type(found.model) is hf.BertForSequenceClassification
    again = load(str(tmp_path), task, Permissions())  # as the measuring process loads it
    assert (again.task, type(again.model)) == (task, type(found.model))
    assert set(found.classes) == (set() if task == "regression" else set(found.model.config.label2id))


def test_an_image_regressor_is_loaded_again_as_what_it_is(tmp_path: Path) -> None:
    config = hf.ViTConfig(image_size=16, patch_size=8, num_labels=1, **SMALL)
    hf.ViTForImageClassification(config).save_pretrained(tmp_path)
    assert load(str(tmp_path), None, Permissions()).task == "regression"
    again = load(str(tmp_path), "regression", Permissions())
    assert type(again.model) is hf.ViTForImageClassification


@pytest.mark.parametrize("evaluator", [ClassFidelity(), LogitsFidelity(), OutputFidelity(), Accuracy()])
def test_evaluators_that_are_blind_to_one_output_say_so(evaluator: Evaluator) -> None:
    reason = evaluator.unsuited(torch.rand(4, 1), [{"labels": torch.zeros(4, dtype=torch.long)}])
    assert "one output" in reason


LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])


def labelled(labels: list[Any], **more: Tensor) -> list[Batch]:
    return [{"x": torch.zeros(len(labels)), "labels": torch.tensor(labels), **more}]


def test_accuracy_tells_dense_and_compressed() -> None:
    batches = labelled([0, 1, 2, 1])
    other = LOGITS.clone()
    other[0], other[3] = LOGITS[1], LOGITS[1]
    evaluator = Accuracy()
    score = evaluator.score(lambda _: other, batches, evaluator.reference(lambda _: LOGITS, batches))
    assert score.per_row == (0.0, 1.0, 1.0, 1.0)
    assert (score.value, score.details["dense_quality"], score.details["top1_agreement"]) == (0.75, 0.75, 0.5)
    assert score.smooth == score.details["fidelity"] < 0.8
    slightly = evaluator.score(lambda _: 0.9 * LOGITS, batches, evaluator.reference(lambda _: LOGITS, batches))
    assert slightly.value == score.value
    assert score.guide < slightly.guide < 1  # the same accuracy, told apart


def test_accuracy_of_tokens_leaves_out_padding_and_what_has_no_label() -> None:
    logits = torch.stack([LOGITS, LOGITS])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    batches = labelled([[0, 1, 0, -100], [1, 1, 2, 0]], attention_mask=mask)
    evaluator = Accuracy()
    assert evaluator.unsuited(logits, batches) == ""
    score = evaluator.score(lambda _: logits, batches, evaluator.reference(lambda _: logits, batches))
    assert score.value == pytest.approx(3 / 5)
    assert score.per_row == pytest.approx((2 / 3, 1 / 2))


def test_labels_that_do_not_fit_are_told_in_words() -> None:
    evaluator = Accuracy()
    assert "float32 (rows)" in evaluator.unsuited(LOGITS, labelled([0.0, 1.0, 0.5, 2.0]))
    assert "int64 (rows, 2)" in evaluator.unsuited(LOGITS, labelled([[0, 1]] * 4))
    for labels in ([0, 1, 2, 3], [0, 1, 2, -1]):
        with pytest.raises(DataError, match=rf"labels hold {labels[3]}: the model has 3 classes, .* from 0 to 2"):
            evaluator.unsuited(LOGITS, labelled(labels))
    with pytest.raises(DataError, match="labels hold -100"):
        evaluator.unsuited(torch.stack([LOGITS]), labelled([[-100] * 4]))


def test_registered_under_these_names() -> None:
    assert {"accuracy", "class-fidelity", "label-fidelity", "value-fidelity"} <= set(load_registry().evaluators)
