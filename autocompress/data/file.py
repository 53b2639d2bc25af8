"""Texts and their labels from the file that a user names: txt, csv, tsv, json or jsonl."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.basics.matching import unknown
from autocompress.basics.read_file import read_text
from autocompress.basics.schema import check_limits
from autocompress.contracts.model import Texts
from autocompress.data.labels import missing, plain
from autocompress.data.splits import split_texts
from autocompress.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".jsonl")
TEXT_COLUMNS = ("text", "sentence", "content", "document", "paragraph", "passage", "body", "review", "comment")
LABEL_COLUMNS = ("labels", "label")
NO_LABELS = "none"
LARGEST = 1 << 30
"""Bytes of a data file: it is read whole, and only a few hundred of its rows are used."""
_LINE = re.compile(r"(line|row) (\d+)")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what; None: the usual names, and no group.

    text    the rows.   labels: what is right for a row, or ``none`` for none.
    group   the topic of a row: whole groups go to a split. Only taken where it is named.
    """

    text: str | None = None
    labels: str | None = None
    group: str | None = None

    def refuse(self, path: Path) -> None:
        """Raises DataError if a column is named, for a file that has none."""
        named = next((name for name in (self.text, self.group, self.labels) if name not in (None, NO_LABELS)), None)
        if named is not None:
            raise DataError(
                f"{path}: a {path.suffix} file has no column {named!r}: expected a csv, tsv, json or jsonl file."
            )


def read_texts(path: Path, columns: Columns = Columns(), *, seed: int = 0) -> Texts:
    """The texts of a file in three disjoint splits, with the labels of the rows where there is a column of them.

    A .txt file has a paragraph a row if blank lines part it, else a line a row; the others have the named columns, or
    those of a usual name, or for texts their only column of strings. Rows without a label are left out, and that is
    told. Raises DataError when the file cannot be read or has too few rows.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"cannot read {str(path)!r}: unknown suffix {path.suffix!r}; expected {', '.join(SUFFIXES)} for text, "
            ".safetensors for tensors by input name."
        )
    text = _read(path)
    if path.suffix.lower() == ".txt":
        columns.refuse(path)
        return split_texts(_paragraphs(text), seed=seed, source=path.name)
    frame, labels = _frame(path, text, columns)
    chosen = _text_column(frame, path, columns, labels)
    if labels == chosen:
        raise DataError(f"{path}: column {chosen!r} is named for the texts and for the labels: expected two columns.")
    if columns.group is not None:
        _check_column(path, columns.group, frame)
    kept = frame[frame[chosen].notna()]
    notes: list[str] = []
    if labels is not None:
        kept, notes = _labelled(kept, labels, path, named=columns.labels is not None)
    return split_texts(
        [str(value) for value in kept[chosen]],
        None if columns.group is None else [str(value) for value in kept[columns.group]],
        labels=None if labels is None else [plain(value) for value in kept[labels]],
        seed=seed,
        source=f"{path.name}[{chosen}]",
        notes=tuple(notes),
    )


def _read(path: Path) -> str:
    expected = f"a data file ({', '.join(SUFFIXES)})"
    text = read_text(path, DataError, expected=expected, largest=LARGEST).replace("\r\n", "\n")
    if not text.strip():
        raise DataError(f"{str(path)!r} is empty: expected rows of text; give a file with data in it.")
    return text


def _paragraphs(text: str) -> list[str]:
    parts = re.split(r"\n\s*\n", text.strip())
    return parts if len(parts) > 1 else text.splitlines()


def _frame(path: Path, text: str, columns: Columns) -> tuple[DataFrame, str | None]:
    """The table, and the name of its column of labels. In a csv file labels are read as they are written."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        separator = "," if suffix == ".csv" else "\t"
        labels = _label_column(_read_csv(path, text, separator, nrows=0), path, columns)
        frame = _read_csv(path, text, separator, dtype={} if labels is None else {labels: str})
        if frame.empty:
            raise DataError(
                f"{str(path)!r} has a header and no rows: expected rows of text; give a file with data in it."
            )
        return frame, labels
    records = _read_jsonl(path, text) if suffix == ".jsonl" else _read_json(path, text)
    frame = _tabulate(path, records)
    return frame, _label_column(frame, path, columns)


def _label_column(frame: DataFrame, path: Path, columns: Columns) -> str | None:
    names = [str(name) for name in frame.columns]
    if columns.labels is not None and (columns.labels != NO_LABELS or NO_LABELS in names):
        _check_column(path, columns.labels, frame)
        return columns.labels
    taken = (columns.text, columns.group)
    usual = {name.lower(): name for name in reversed(names) if name not in taken}
    return None if columns.labels else next((usual[name] for name in LABEL_COLUMNS if name in usual), None)


def _check_column(path: Path, name: str, frame: DataFrame) -> None:
    names = [str(column) for column in frame.columns]
    if name not in names:
        raise DataError(f"{path}: {unknown('column', name, names)}")


def _labelled(frame: DataFrame, labels: str, path: Path, *, named: bool) -> tuple[DataFrame, list[str]]:
    """The rows that have a label, and what the user is told."""
    has = [not missing(value) for value in frame[labels]]
    if not any(has):
        raise DataError(
            f"{path}: column {labels!r} has no label in any row: expected a label a row; "
            f"name another one with --labels, or --labels {NO_LABELS}."
        )
    notes = [] if named else [f"labels: column {labels!r} of {path.name}; --labels {NO_LABELS} leaves it out"]
    if not all(has):
        notes.append(f"{has.count(False)} of {len(has)} rows have no label in column {labels!r} and are left out")
    return frame[has], notes


def _read_csv(path: Path, text: str, separator: str, **options: Any) -> DataFrame:
    from io import StringIO

    import pandas

    try:  # only an empty cell is missing: "NA" and "null" are words
        frame: DataFrame = pandas.read_csv(
            StringIO(text), sep=separator, keep_default_na=False, na_values=[""], **options
        )
    except (ValueError, OverflowError) as error:  # a ParserError is a ValueError; so is what its cells may raise
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        found = _LINE.search(reason)
        where = f", line {int(found[2]) + (found[1] == 'row')}" if found else ""  # pandas counts rows from 0
        raise DataError(
            f"{path}{where}: malformed table ({reason}): expected closed quotes and as many cells in every row."
        ) from error
    return frame


def _read_json(path: Path, text: str) -> Sequence[Any]:
    try:
        records = _limited(text, str(path))
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
            records.append(_limited(line, f"{path}, line {number}"))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: malformed JSON ({error.msg}): expected one value a line."
            ) from error
    return records


def _limited(text: str, where: str) -> Any:
    """Parsed JSON within the limits of every file of ours. Raises JSONDecodeError, or DataError beyond the limits."""
    try:
        found = json.loads(text)
        check_limits(found)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise DataError(f"{where}: nested too deep: expected strings, or objects with a string in them.") from None
    except ValueError as error:
        raise DataError(f"{where}: {error}: expected strings, or objects with a string in them.") from error
    return found


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


def _text_column(frame: DataFrame, path: Path, columns: Columns, labels: str | None) -> str:
    if columns.text is not None:
        _check_column(path, columns.text, frame)
        return columns.text
    others = (columns.group, labels)
    strings = [str(name) for name in frame.columns if name not in others and _holds_strings(frame, name)]
    usual = {name.lower(): name for name in reversed(strings)}
    for name in TEXT_COLUMNS:
        if name in usual:
            return usual[name]
    if len(strings) == 1:
        return strings[0]
    names = ", ".join(str(name) for name in frame.columns)
    raise DataError(
        f"{path}: {'no' if not strings else 'more than one possible'} text column among {names}: "
        "expected one that is named text, or a single one of strings; name yours with --column."
    )


def _holds_strings(frame: DataFrame, name: Any) -> bool:
    values = frame[name].dropna()
    return len(values) > 0 and all(isinstance(value, str) for value in values)
