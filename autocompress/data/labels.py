"""Labels of rows as tensors: names of classes by the model's own ids, ids, lists of either, or quantities."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.contracts.model import LoadedModel, Texts
from autocompress.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 10
OUT = "--labels none leaves them out"
_PARTED = re.compile(r"\s*[|;,]\s*")


def encode_labels(texts: Texts, loaded: LoadedModel) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """By split, the labels as the model's task has them, and lines for the user.

    classes      (rows,) ids; names are looked up in the model's own.   multi-label: (rows, classes) of 0 and 1.
    quantities   (rows,) or (rows, outputs).   Names for a model without classes are numbered in their sorted order.
    Raises DataError with both lists when names are not the model's, and when a label is not of the task's form.
    """
    import torch

    rows = [label for part in texts.labels.values() for label in part]
    notes: tuple[str, ...] = ()
    if not rows:
        return {}, ()
    if loaded.task == "token-classification":
        raise DataError(
            f"the file has one label a row, task {loaded.task} needs one a token: give tensors with labels "
            f"(rows, tokens) in a .safetensors file; {OUT}."
        )
    if loaded.task == "multi-label":
        found: list[Any] = _vectors(rows, loaded.classes)
    elif loaded.task == "regression":
        found = _quantities(rows)
    elif loaded.classes:
        found = _ids(rows, loaded.classes)
    else:
        found, notes = _numbered(rows)
    tensors, start = {}, 0
    for name, part in texts.labels.items():
        tensors[name] = torch.tensor(found[start : start + len(part)])
        start += len(part)
    return tensors, notes


def plain(value: Any) -> Any:
    """A cell of a table as plain Python data; text without the space around it."""
    found = value.item() if hasattr(value, "item") else value
    return found.strip() if isinstance(found, str) else found


def missing(value: Any) -> bool:
    """Whether a cell holds no label: nothing, blank, or a float that is none."""
    found = plain(value)
    return found is None or found == "" or (isinstance(found, float) and math.isnan(found)) or str(found) == "<NA>"


def _ids(rows: Sequence[Any], classes: Mapping[str, int]) -> list[int]:
    if any(isinstance(row, list) for row in rows):
        raise DataError(
            f"labels are lists ({_list(rows)}), the model has one class a row: expected a name or id; to be "
            "judged label by label its config needs problem_type multi_label_classification."
        )
    return _mapped(rows, classes)


def _mapped(labels: Sequence[Any], classes: Mapping[str, int]) -> list[int]:
    """All labels as names of classes, or else all as ids."""
    if all(str(label) in classes for label in labels):
        return [classes[str(label)] for label in labels]
    ids = [_whole(label) for label in labels]
    if all(identity is not None and identity in set(classes.values()) for identity in ids):
        return [identity for identity in ids if identity is not None]
    raise DataError(
        f"labels do not fit the model's classes: the data has {_list(labels)}; the model's label2id has "
        f"{_list(classes)}: expected its names, or its ids from {min(classes.values())} to {max(classes.values())}; "
        f"mend the column or label2id in config.json, or {OUT}."
    )


def _vectors(rows: Sequence[Any], classes: Mapping[str, int]) -> list[list[float]]:
    lists = [_members(row, classes) for row in rows]
    width = max(classes.values()) + 1
    if width > 2 and all(len(row) == width and set(map(str, row)) <= {"0", "1", "0.0", "1.0"} for row in lists):
        return [[float(value) for value in row] for row in lists]
    flat = _mapped([label for row in lists for label in row], classes) if any(lists) else []
    vectors, start = [], 0
    for row in lists:
        chosen = set(flat[start : start + len(row)])
        vectors.append([float(identity in chosen) for identity in range(width)])
        start += len(row)
    return vectors


def _members(row: Any, classes: Mapping[str, int]) -> list[Any]:
    """A row's labels: a list, the text of one, one name, or names between bars, semicolons or commas."""
    if isinstance(row, list):
        return [plain(value) for value in row]
    if isinstance(row, str) and row.startswith("["):
        try:
            found = json.loads(row)
        except ValueError as error:
            raise DataError(f"label {row!r}: malformed list ({error}): expected names or ids; or {OUT}.") from error
        return [plain(value) for value in found]
    if isinstance(row, str) and row not in classes:
        return [part for part in _PARTED.split(row) if part]
    return [row]


def _quantities(rows: Sequence[Any]) -> list[Any]:
    found = []
    for row in rows:
        try:
            value: Any = [float(one) for one in row] if isinstance(row, list) else float(row)
        except (TypeError, ValueError):
            value = math.nan
        if not all(math.isfinite(one) for one in (value if isinstance(value, list) else [value])):
            raise DataError(f"label {row!r} is no number: task regression expects quantities; or {OUT}.")
        found.append(value)
    if len({len(value) if isinstance(value, list) else 0 for value in found}) > 1:
        raise DataError(f"labels have different numbers of quantities a row: expected the same for all; or {OUT}.")
    return found


def _numbered(rows: Sequence[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Labels for a model without classes: whole numbers, else quantities, else names in sorted order."""
    if any(isinstance(row, (list, dict)) for row in rows):
        raise DataError(f"labels are lists ({_list(rows)}), and the model has no classes to read them by; {OUT}.")
    whole = [_whole(row) for row in rows]
    if None not in whole:
        return whole, ()
    try:
        return [float(row) for row in rows], ()
    except (TypeError, ValueError):
        names = sorted({str(row) for row in rows})
    numbers = {name: number for number, name in enumerate(names)}
    words = [f"{number} = {name}" for name, number in numbers.items()]
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return [numbers[str(row)] for row in rows], (f"labels are numbered: {', '.join(words[:SHOWN])}{more}",)


def _whole(label: Any) -> int | None:
    """A label as a whole number, if it is one however it is written: 3, "3", 3.0, true."""
    try:
        value = float(label)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _list(values: Iterable[Any]) -> str:
    """The first few distinct values, and how many there are beyond."""
    distinct = sorted({str(value) for value in values})
    more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
    return ", ".join(repr(value) if len(value) < 40 else repr(value[:37] + "...") for value in distinct[:SHOWN]) + more
