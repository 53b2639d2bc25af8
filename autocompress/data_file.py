"""Texts from the file that a user names: txt, csv, tsv, json or jsonl."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.data_splits import split_texts
from autocompress.errors import DataError
from autocompress.matching import unknown
from autocompress.model import Texts

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".jsonl")
TEXT_COLUMNS = ("text", "sentence", "content", "document", "paragraph", "passage", "body", "review", "comment")
GROUP_COLUMNS = ("group", "topic", "category", "class", "label", "labels")
_LINE = re.compile(r"(line|row) (\d+)")


def read_texts(path: Path, *, column: str | None = None, group: str | None = None, seed: int = 0) -> Texts:
    """The texts of a file in three disjoint splits.

    A .txt file has a paragraph a row if blank lines part it, else a line a row; the others have the column ``column``,
    one of the usual names, or their only column of strings. ``group``, or a column of a usual name, gives each row's
    topic. Raises DataError when the file cannot be read or has too few rows.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"cannot read {str(path)!r}: unknown suffix {path.suffix!r}; expected {', '.join(SUFFIXES)}.")
    text = _read(path)
    if path.suffix.lower() == ".txt":
        return split_texts(_paragraphs(text), seed=seed, source=path.name)
    frame = _frame(path, text)
    chosen = _text_column(frame, path, column, group)
    by = _group_column(frame, path, chosen, group)
    kept = frame[frame[chosen].notna()]
    groups = None if by is None else [str(value) for value in kept[by]]
    return split_texts([str(value) for value in kept[chosen]], groups, seed=seed, source=f"{path.name}[{chosen}]")


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"no data file {str(path)!r}: expected one of {', '.join(SUFFIXES)}; check the path."
        ) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text: expected a text file; save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r} ({error.strerror}): expected a readable file.") from error
    if not text.strip():
        raise DataError(f"{str(path)!r} is empty: expected rows of text; give a file with data in it.")
    return text


def _paragraphs(text: str) -> list[str]:
    parts = re.split(r"\n\s*\n", text.strip())
    return parts if len(parts) > 1 else text.splitlines()


def _frame(path: Path, text: str) -> DataFrame:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, text, "," if suffix == ".csv" else "\t")
    records = _read_jsonl(path, text) if suffix == ".jsonl" else _read_json(path, text)
    return _tabulate(path, records)


def _read_csv(path: Path, text: str, separator: str) -> DataFrame:
    from io import StringIO

    import pandas

    try:  # only an empty cell is missing: "NA" and "null" are words
        frame = pandas.read_csv(StringIO(text), sep=separator, keep_default_na=False, na_values=[""])
    except pandas.errors.ParserError as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        found = _LINE.search(reason)
        where = f", line {int(found[2]) + (found[1] == 'row')}" if found else ""  # pandas counts rows from 0
        raise DataError(
            f"{path}{where}: malformed table ({reason}): expected closed quotes and as many cells in every row."
        ) from error
    if frame.empty:
        raise DataError(f"{str(path)!r} has a header and no rows: expected rows of text; give a file with data in it.")
    return frame


def _read_json(path: Path, text: str) -> Sequence[Any]:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}: malformed JSON ({error.msg}): expected a list of rows."
        ) from error
    if not isinstance(records, list):
        raise DataError(f"{path}: {type(records).__name__} at the top: expected a list of strings or of objects.")
    return records


def _read_jsonl(path: Path, text: str) -> Sequence[Any]:
    records: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also cut at other separators
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: malformed JSON ({error.msg}): expected one value a line."
            ) from error
    return records


def _tabulate(path: Path, records: Sequence[Any]) -> DataFrame:
    import pandas

    if not records:
        raise DataError(f"{str(path)!r} is an empty list: expected rows of text; give a file with data in it.")
    wanted = str if isinstance(records[0], str) else Mapping
    for number, record in enumerate(records, start=1):
        if not isinstance(record, wanted):
            kind = "a string" if wanted is str else "an object"
            raise DataError(f"{path}, row {number}: {type(record).__name__}: expected {kind}, as the first row.")
    return pandas.DataFrame({"text": list(records)} if wanted is str else list(records))


def _text_column(frame: DataFrame, path: Path, column: str | None, group: str | None) -> str:
    columns = [str(name) for name in frame.columns]
    if column is not None:
        if column not in columns:
            raise DataError(f"{path}: {unknown('column', column, columns)}")
        return column
    strings = [str(name) for name in frame.columns if _holds_strings(frame, name)]
    usual = {name.lower(): name for name in reversed(strings)}
    for name in TEXT_COLUMNS:
        if name in usual:
            return usual[name]
    left = [name for name in strings if name != group and name.lower() not in GROUP_COLUMNS]
    if len(left) == 1:
        return left[0]
    raise DataError(
        f"{path}: {'no' if not left else 'more than one possible'} text column among {', '.join(columns)}: "
        "expected one that is named text, or a single one of strings; name yours with --column."
    )


def _holds_strings(frame: DataFrame, name: Any) -> bool:
    values = frame[name].dropna()
    return len(values) > 0 and all(isinstance(value, str) for value in values)


def _group_column(frame: DataFrame, path: Path, text: str, group: str | None) -> str | None:
    columns = [str(name) for name in frame.columns]
    if group is not None:
        if group not in columns:
            raise DataError(f"{path}: {unknown('column', group, columns)}")
        return group
    usual = {name.lower(): name for name in reversed(columns) if name != text}
    return next((usual[name] for name in GROUP_COLUMNS if name in usual), None)
