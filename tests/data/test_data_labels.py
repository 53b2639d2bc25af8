"""Labels arrive as the model's own class ids, every split has its share of them, or one line says why not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autocompress.contracts.model import LoadedModel, Texts
from autocompress.data import Columns, encode_labels, encode_texts, read_tensors, read_texts, splits_of_tensors
from autocompress.data.splits import NAMES, split_texts
from autocompress.errors import DataError

ROWS = [f"Row number {n} says something that no other row says." for n in range(120)]
CLASSES = {"bad": 0, "so-so": 1, "good": 2}


def model(task: str = "classification", classes: dict[str, int] | None = None) -> LoadedModel:
    return LoadedModel(nn.Identity(), "x", task, classes=CLASSES if classes is None else classes)


def csv(folder: Path, labels: Sequence[str], header: str = "text,label") -> Path:
    lines = [f'"{text}",{label}' for text, label in zip(ROWS, labels, strict=False)]
    (folder / "rows.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "rows.csv"


def texts_of(labels: Sequence[Any]) -> Texts:
    return split_texts(ROWS[: len(labels)], labels=labels)


def encoded(labels: Sequence[Any], loaded: LoadedModel | None = None) -> dict[str, Any]:
    """Row to its label as the model has it."""
    texts = texts_of(labels)
    tensors, _ = encode_labels(texts, loaded or model())
    return {
        row: value
        for name in NAMES
        for row, value in zip(getattr(texts, name), tensors[name].tolist(), strict=True)
    }  # fmt: skip


def test_a_label_column_is_labels_and_no_group(tmp_path: Path) -> None:
    texts = read_texts(csv(tmp_path, [list(CLASSES)[n % 3] for n in range(120)]))
    assert texts.groups == {}
    owner = {row: list(CLASSES)[n % 3] for n, row in enumerate(ROWS)}
    for name in NAMES:
        assert [owner[row] for row in getattr(texts, name)] == list(texts.labels[name])
    assert "split by row, stratified by label" in texts.source
    assert "labels: column 'label' of rows.csv; --labels none leaves it out" in texts.notes


def test_twenty_labels_are_shared_by_all_splits() -> None:
    texts = texts_of([f"class {n % 20}" for n in range(120)])
    assert all(len(set(texts.labels[name])) == 20 for name in NAMES[1:])
    skewed = texts_of(["rare" if n % 10 == 0 else "usual" for n in range(120)])
    assert {name: Counter(skewed.labels[name])["rare"] for name in NAMES} == {
        "calibration": 2, "validation": 5, "test": 5,
    }  # fmt: skip


def test_every_stretch_of_a_split_is_stratified_and_the_seed_changes_it() -> None:
    texts = texts_of(["no" if n % 4 else "yes" for n in range(120)])
    for start in range(0, 48, 8):
        assert 1 <= Counter(texts.labels["validation"][start : start + 8])["yes"] <= 3
    assert split_texts(ROWS, labels=["a"] * 120, seed=1) != split_texts(ROWS, labels=["a"] * 120)
    assert texts == texts_of(["no" if n % 4 else "yes" for n in range(120)])


def test_labels_can_be_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,mood\n" + "\n".join(f'"{row}",1,{n % 2}' for n, row in enumerate(ROWS)))
    assert set(read_texts(path, Columns(labels="mood")).labels["test"]) == {"0", "1"}
    assert read_texts(path, Columns(labels="none")).labels == {}
    assert read_texts(path, Columns(text="text", group="label")).labels == {}
    with pytest.raises(DataError, match="column 'text' is named for the texts and for the labels"):
        read_texts(path, Columns(text="text", labels="text"))
    (tmp_path / "rows.txt").write_text("\n".join(ROWS))
    with pytest.raises(DataError, match=r"a \.txt file has no column 'mood': expected a csv"):
        read_texts(tmp_path / "rows.txt", Columns(labels="mood"))


def test_labels_of_a_csv_are_read_as_they_are_written(tmp_path: Path) -> None:
    labels = ["01", "1", "NA"] * 40
    texts = read_texts(csv(tmp_path, labels))
    assert {label for part in texts.labels.values() for label in part} == {"01", "1", "NA"}
    tensors, _ = encode_labels(texts, model(classes={"01": 0, "1": 1, "NA": 2}))
    assert {int(label) for part in tensors.values() for label in part} == {0, 1, 2}


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_labels_of_json_keep_their_types(tmp_path: Path, form: str) -> None:
    records: list[dict[str, Any]] = [{"text": row, "labels": n % 3} for n, row in enumerate(ROWS)]
    records[5]["labels"] = None
    text = json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))
    (tmp_path / f"rows.{form}").write_text(text)
    texts = read_texts(tmp_path / f"rows.{form}")
    assert sum(len(part) for part in texts.labels.values()) == 119
    assert any("1 of 120 rows have no label in column 'labels' and are left out" in note for note in texts.notes)
    tensors, _ = encode_labels(texts, model())
    assert {int(label) for part in tensors.values() for label in part} == {0, 1, 2}


@pytest.mark.parametrize("labels", [[0, 1, 2], ["0", "1", "2"], ["0.0", "1.0", "2.0"], ["bad", "so-so", "good"]])
def test_names_and_ids_arrive_as_ids(labels: list[Any]) -> None:
    assert encoded(labels * 40) == {row: n % 3 for n, row in enumerate(ROWS)}


def test_numbers_that_are_names_are_names() -> None:
    stars = {"1": 0, "2": 1, "3": 2}
    assert set(encoded([1, 2, 3] * 40, model(classes=stars)).values()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (["bad", "fine"], CLASSES, ("the data has 'bad', 'fine'", "label2id has 'bad', 'good', 'so-so'", "0 to 2")),
        ([0, 3], CLASSES, ("the data has '0', '3'", "ids from 0 to 2", "--labels none")),
        (["nan", "good"], CLASSES, ("the data has 'good', 'nan'",)),
        ([0.5, 1.0], CLASSES, ("the data has '0.5', '1.0'",)),
        ([f"c{n}" for n in range(100)], {f"d{n}": n for n in range(10000)}, ("and 90 more", "and 9990 more")),
        ([["good"], ["bad"]], CLASSES, ("labels are lists", "multi_label_classification")),
    ],
)
def test_labels_that_are_not_the_models_name_both_lists(
    labels: list[Any], classes: dict[str, int], words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as caught:
        encoded((labels * 120)[:120], model(classes=classes))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_ten_thousand_classes() -> None:
    classes = {f"class {n}": n for n in range(10000)}
    found = encoded([f"class {n * 80}" for n in range(120)], model(classes=classes))
    assert found == {row: n * 80 for n, row in enumerate(ROWS)}
    texts = texts_of([f"class {n * 80}" for n in range(120)])
    assert any("120 of 120 labels have fewer than 3 rows" in note and "and 115 more" in note for note in texts.notes)


def test_one_class_and_single_rows_are_told() -> None:
    assert any("every row has the label 'good'" in note for note in texts_of(["good"] * 120).notes)
    notes = texts_of(["good"] * 60 + ["bad"] * 59 + ["so-so"]).notes
    assert any("1 of 3 labels have fewer than 3 rows and are not in every split: so-so" in note for note in notes)


def test_a_text_with_two_labels_is_told() -> None:
    texts = split_texts([*ROWS, ROWS[3].upper()], labels=["good"] * 60 + ["bad"] * 60 + ["bad"])
    assert "1 texts occur with more than one label: the first one counts" in texts.notes
    assert sum(len(part) for part in texts.labels.values()) == 120


def test_a_column_without_any_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'label' has no label in any row: .*--labels none"):
        read_texts(csv(tmp_path, [""] * 120))


@pytest.mark.parametrize(
    "labels",
    [
        [["bad", "good"], ["so-so"], []],
        [[0, 2], [1], []],
        ["bad|good", "so-so", "[]"],
        ["bad; good", "so-so", "[]"],
        ["[0, 2]", "[1]", "[]"],
        [[1, 0, 1], [0, 1, 0], [0, 0, 0]],
    ],
)
def test_several_labels_a_row_are_a_vector(labels: list[Any]) -> None:
    found = encoded(labels * 40, model("multi-label"))
    vectors = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert found == {row: vectors[n % 3] for n, row in enumerate(ROWS)}


def test_several_labels_that_are_not_the_models_are_refused() -> None:
    with pytest.raises(DataError, match="the data has 'bad', 'odd'"):
        encoded(["bad|odd"] * 120, model("multi-label"))
    with pytest.raises(DataError, match="malformed list"):
        encoded(["[bad"] * 120, model("multi-label"))


def test_quantities_are_floats_and_are_not_stratified() -> None:
    values = [n / 7 for n in range(120)]
    assert encoded(values, model("regression")) == pytest.approx(dict(zip(ROWS, values, strict=True)))
    assert "stratified" not in texts_of(values).source
    assert encoded(["1", "2.5"] * 60, model("regression"))[ROWS[1]] == 2.5
    for bad in ("high", "nan", "inf"):
        with pytest.raises(DataError, match=f"label '{bad}' is no number: task regression expects quantities"):
            encoded(["1.0", bad] * 60, model("regression"))


def test_labels_for_a_model_without_classes_are_numbered_and_that_is_told() -> None:
    texts = texts_of(["cat", "dog"] * 60)
    tensors, notes = encode_labels(texts, model("embedding", {}))
    assert notes == ("labels are numbered: 0 = cat, 1 = dog",)
    assert {int(label) for part in tensors.values() for label in part} == {0, 1}
    assert set(encoded([7, 9] * 60, model("embedding", {})).values()) == {7, 9}


def test_one_label_a_row_is_not_one_a_token() -> None:
    with pytest.raises(DataError, match=r"one label a row, task token-classification needs one a token: .*safetensors"):
        encoded(["bad"] * 120, model("token-classification"))


def test_labels_go_into_the_batches() -> None:
    def encode(rows: Sequence[str], sequence: int) -> dict[str, Tensor]:
        return {"input_ids": torch.tensor([[len(row)] * sequence for row in rows])}

    texts = texts_of(["bad", "good"] * 60)
    labels, _ = encode_labels(texts, model())
    splits = encode_texts(texts, encode, 4, labels)
    assert [CLASSES[label] for label in texts.labels["test"]] == splits.test["labels"].tolist()


class Takes(nn.Module):
    def forward(self, pixels: Tensor, scale: float = 1.0) -> Tensor:
        return pixels * scale


class TakesLabel(nn.Module):
    def forward(self, pixels: Tensor, label: Tensor) -> Tensor:
        return pixels + label


class TakesAnything(nn.Module):
    def forward(self, **inputs: Tensor) -> Tensor:
        return inputs["whatever"]


def test_a_tensor_named_label_is_labels_unless_the_model_takes_it() -> None:
    data = {"pixels": torch.rand(60, 2), "label": torch.arange(60, dtype=torch.int32) % 3}
    found = splits_of_tensors(data, Takes())
    assert set(found.test) == {"pixels", "labels"}
    assert found.test["labels"].dtype is torch.int64
    assert set(splits_of_tensors(data, TakesLabel()).test) == {"pixels", "label"}
    assert set(splits_of_tensors({"whatever": torch.rand(60, 2)}, TakesAnything()).test) == {"whatever"}


def test_tensors_are_stratified_by_their_labels() -> None:
    data = {"pixels": torch.rand(120, 2), "labels": torch.arange(120) % 20}
    found = splits_of_tensors(data, Takes())
    assert all(len(set(getattr(found, name)["labels"].tolist())) == 20 for name in NAMES[1:])


def test_tensors_come_from_safetensors_and_nothing_else(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"pixels": torch.rand(60, 2)}, path)
    assert read_tensors(path)["pixels"].shape == (60, 2)
    save_file({}, path)
    with pytest.raises(DataError, match=r"x\.safetensors' holds no tensor: expected tensors of shape"):
        read_tensors(path)
    torch.save({"pixels": torch.rand(60, 2)}, path)
    with pytest.raises(DataError, match=r"cannot read .*x\.safetensors' as safetensors .*save_file") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"no file .*gone"):
        read_tensors(tmp_path / "gone.safetensors")
    with pytest.raises(DataError, match="cannot read"):
        read_tensors(tmp_path)
