"""Data comes in three disjoint splits, the same for the same seed; what cannot be read is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autocompress.contracts.model import Texts
from autocompress.data import (
    Columns,
    batches,
    encode_texts,
    python_topics,
    read_texts,
    split_texts,
    splits_of_tensors,
)
from autocompress.data.splits import LARGEST, NAMES, SMALLEST
from autocompress.errors import DataError

ROWS = [f"Row number {n} says something that no other row says." for n in range(100)]


def parts(texts: Texts) -> list[set[str]]:
    return [set(getattr(texts, name)) for name in NAMES]


def disjoint(sets: Sequence[set[str]]) -> bool:
    return sum(len(one) for one in sets) == len(set().union(*sets))


def test_splits_are_disjoint_complete_and_repeatable() -> None:
    texts = split_texts(ROWS)
    assert disjoint(parts(texts))
    assert set().union(*parts(texts)) == set(ROWS)
    assert [len(one) for one in parts(texts)] == [15, 45, 40]
    assert split_texts(list(reversed(ROWS))) == texts
    assert split_texts(ROWS, seed=1) != texts
    assert texts.groups == {}


def test_rows_that_differ_only_in_spaces_or_case_are_one() -> None:
    doubled = [*ROWS, *(row.upper() for row in ROWS), *(row.replace(" ", "\n  ") for row in ROWS), "", "  "]
    assert parts(split_texts(doubled)) == parts(split_texts(ROWS))


def test_the_fewest_rows_that_will_do() -> None:
    least = sum(SMALLEST)
    assert [len(one) for one in parts(split_texts(ROWS[:least]))] == list(SMALLEST)
    with pytest.raises(DataError, match=rf"texts: {least - 1} distinct rows \(of {least}\): expected at least {least}"):
        split_texts([*ROWS[: least - 1], ROWS[0]])


def test_more_rows_than_are_used_are_a_sample() -> None:
    texts = split_texts([f"Line {n} of a long file." for n in range(5000)])
    assert tuple(len(one) for one in parts(texts)) == LARGEST
    assert "256/384/384" in texts.source


def test_whole_groups_go_to_a_split_when_there_are_enough() -> None:
    texts = split_texts(ROWS, [f"topic {n % 20}" for n in range(100)])
    assert disjoint([set(texts.groups[name]) for name in NAMES])
    assert disjoint(parts(texts))
    owner = {row: f"topic {n % 20}" for n, row in enumerate(ROWS)}
    for name in NAMES:
        assert [owner[row] for row in getattr(texts, name)] == list(texts.groups[name])
    assert "by group" in texts.source


@pytest.mark.parametrize("groups", [["a", "b"] * 50, ["all"] * 80 + [str(n) for n in range(20)]])
def test_few_or_uneven_groups_split_by_row(groups: list[str]) -> None:
    texts = split_texts(ROWS, groups)
    assert "by row" in texts.source
    assert disjoint(parts(texts))
    assert [len(one) for one in parts(texts)] == [15, 45, 40]


def test_python_topics_are_prose_and_no_topic_is_in_two_splits() -> None:
    texts = python_topics()
    sizes = [len(one) for one in parts(texts)]
    assert all(size >= least for size, least in zip(sizes, (96, 256, 256), strict=True))
    assert disjoint(parts(texts))
    assert disjoint([set(texts.groups[name]) for name in NAMES])
    assert all(80 <= len(row) <= 1200 and "::=" not in row for part in parts(texts) for row in part)


def test_groups_become_integers_that_mean_the_same_everywhere() -> None:
    def encode(rows: Sequence[str], sequence: int) -> dict[str, Tensor]:
        return {"input_ids": torch.tensor([[len(row)] * sequence for row in rows])}

    texts = split_texts(ROWS, ["odd" if n % 2 else "even" for n in range(100)])
    splits = encode_texts(texts, encode, 4)
    for name in NAMES:
        part = getattr(splits, name)
        assert part["input_ids"].shape == (len(getattr(texts, name)), 4)
        assert part["group"].tolist() == [["even", "odd"].index(group) for group in texts.groups[name]]


def test_batches_keep_order_and_all_rows() -> None:
    inputs = {"x": torch.arange(10), "y": torch.arange(20).reshape(10, 2)}
    found = batches(inputs, 4)
    assert [len(batch["x"]) for batch in found] == [4, 4, 2]
    assert torch.equal(torch.cat([batch["y"] for batch in found]), inputs["y"])
    with pytest.raises(DataError, match="batch of 0 rows"):
        batches(inputs, 0)


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def csv(columns: str, row: str) -> str:
    return columns + "\n" + "\n".join(row.format(text=text, n=n) for n, text in enumerate(ROWS)) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.txt", "\n".join(ROWS)),
        ("paragraphs.txt", "\n\n".join(row.replace(" says", "\nsays") for row in ROWS)),
        ("marked.txt", "\ufeff" + "\n".join(ROWS)),
        ("named.csv", csv("id,text,note", '{n},"{text}",more words')),
        ("only.csv", csv("id,remark,label", '{n},"{text}",good')),
        ("tabs.tsv", csv("Sentence\tscore", "{text}\t0.5")),
        ("strings.json", json.dumps(ROWS, indent=1)),
        ("objects.json", json.dumps([{"content": row, "n": 1} for row in ROWS])),
        ("objects.jsonl", "\n".join(json.dumps({"remark": row, "n": 1}) for row in ROWS) + "\n\n"),
        ("strings.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    texts = read_texts(write(tmp_path, name, content))
    assert parts(texts) == parts(split_texts(ROWS))
    assert name in texts.source


def test_words_that_pandas_takes_for_missing_are_words(tmp_path: Path) -> None:
    rows = [*ROWS[:40], "null", "NA", ""]
    texts = read_texts(write(tmp_path, "a.csv", "text,n\n" + "\n".join(f"{row},1" for row in rows)))
    assert set().union(*parts(texts)) == {*ROWS[:40], "null", "NA"}


def test_a_column_can_be_named_and_a_group_only_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", csv("text,other,topic,group", '{n},"{text}",t{n},g'))
    texts = read_texts(path, Columns("other"))
    assert "by row" in texts.source
    assert texts.groups == {}
    grouped = read_texts(path, Columns("other", group="topic"))
    assert "by group" in grouped.source
    assert disjoint([set(grouped.groups[name]) for name in NAMES])
    numbered = read_texts(path, Columns("other", group="text"))
    assert set(numbered.groups["test"]) <= {str(n) for n in range(100)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", " \n\n", r"is empty: expected rows of text"),
        ("a.xlsx", "x", r"unknown suffix '\.xlsx'; expected \.txt, \.csv"),
        ("few.txt", "\n".join(ROWS[:5]), r"few\.txt: 5 distinct rows \(of 5\): expected at least 40"),
        ("a.csv", csv("id,score", "{n},0.5"), r"no text column among id, score: .*--column"),
        ("b.csv", csv("one,two", '"{text}",word'), r"more than one possible text column among one, two"),
        ("c.csv", "text,n\na,1\nb,1,2,3\n", r"c\.csv, line 3: malformed table"),
        ("d.csv", "text,label\n", r"has a header and no rows"),
        ("e.csv", 'text\n"open quote\n', r"e\.csv, line 2: malformed table"),
        ("a.json", '["a",\n"b"\n"c"]', r"a\.json, line 3: malformed JSON"),
        ("b.json", '{"text": "a"}', r"b\.json: dict at the top: expected a list"),
        ("c.json", "[]", r"is an empty list"),
        ("d.json", '["a", {"text": "b"}]', r"row 2: dict: expected a string, as the first row"),
        ("e.json", "[1, 2]", r"row 1: int: expected an object"),
        ("a.jsonl", '"a"\n"b\n', r"a\.jsonl, line 2: malformed JSON"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_texts(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*gone\.csv"):
        read_texts(tmp_path / "gone.csv")
    (tmp_path / "binary.txt").write_bytes(b"fine\n\xff\xfe")
    with pytest.raises(DataError, match=r"binary\.txt, line 2: not UTF-8"):
        read_texts(tmp_path / "binary.txt")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="cannot read"):
        read_texts(tmp_path / "folder.csv")


@pytest.mark.parametrize("option", ["text", "labels", "group"])
def test_a_column_that_is_not_there_names_near_misses(tmp_path: Path, option: str) -> None:
    path = write(tmp_path, "a.csv", csv("text,n", '"{text}",{n}'))
    with pytest.raises(DataError, match=r"unknown column 'texts'\. Did you mean 'text'\? Known: n, text"):
        read_texts(path, Columns(**{option: "texts"}))


class Takes(nn.Module):
    def forward(self, pixels: Tensor, scale: float = 1.0) -> Tensor:
        return pixels * scale


def test_tensors_split_disjointly_and_repeatably() -> None:
    data = {"pixels": torch.randn(80, 3), "labels": torch.arange(80)}
    found = splits_of_tensors(data, Takes())
    seen = [getattr(found, name)["labels"].tolist() for name in NAMES]
    assert sorted(label for part in seen for label in part) == list(range(80))
    for name in NAMES:
        part = getattr(found, name)
        assert torch.equal(part["pixels"], data["pixels"][part["labels"]])
    assert torch.equal(splits_of_tensors(data, Takes()).test["labels"], found.test["labels"])
    assert not torch.equal(splits_of_tensors(data, Takes(), seed=1).test["labels"], found.test["labels"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_bare_tensor_is_the_first_argument_and_equal_rows_are_one(dtype: torch.dtype) -> None:
    rows = torch.stack([torch.tensor([bool(n >> bit & 1) for bit in range(6)]) for n in range(50)]).to(dtype)
    found = splits_of_tensors(torch.cat([rows, rows]), Takes())
    assert set(found.test) == {"pixels"}
    assert sum(len(getattr(found, name)["pixels"]) for name in NAMES) == 50


def test_a_triple_is_kept_as_it_is_and_checked_for_leaks() -> None:
    triple = [torch.randn(rows, 3) for rows in (4, 5, 6)]
    found = splits_of_tensors(triple, Takes())
    assert torch.equal(found.validation["pixels"], triple[1])
    triple[2][3] = triple[0][1]
    with pytest.raises(DataError, match="row 3 of the test split is also row 1 of calibration"):
        splits_of_tensors(triple, Takes())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"pixels": torch.rand(50, 2), "scale": torch.rand(9, 1)},
            r"different numbers of rows \{'pixels': 50, 'scale'",
        ),
        ({"pixels": torch.rand(50, 2), "labels": torch.rand(49)}, r"different numbers of rows"),
        (
            {"pixls": torch.rand(50, 2)},
            r"Takes takes no input 'pixls'\. Did you mean 'pixels'\? Expected: pixels, scale",
        ),
        ({"scale": torch.rand(50, 2)}, r"Takes needs 'pixels', the tensors are scale: expected every argument without"),
        (
            {"pixels": torch.rand(50, 2), "label": torch.ones(50), "labels": torch.ones(50)},
            r"both 'label' and 'labels'",
        ),
        ({"labels": torch.arange(50)}, r"no model input among \['labels'\]"),
        ({"a": [1, 2, 3]}, r"'a' is no tensor of rows"),
        ({"a": torch.tensor(1.0)}, r"'a' is no tensor of rows"),
        (torch.zeros(50, 2), r"data has 1 distinct rows \(of 50\): expected at least 40"),
        ([torch.rand(5, 2)], r"data is a list of 1: expected a tensor"),
        ("text", r"data is a str"),
        ([torch.rand(5, 2), torch.rand(5, 2), torch.rand(0, 2)], r"the test split has no rows"),
    ],
)
def test_tensors_that_cannot_be_used(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        splits_of_tensors(data, Takes())  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_bare_tensor_needs_a_named_argument() -> None:
    class Star(nn.Module):
        def forward(self, *args: Tensor) -> Tensor:
            return args[0]

    with pytest.raises(DataError, match=r"Star\.forward does not name its first argument"):
        splits_of_tensors(torch.rand(50, 2), Star())
