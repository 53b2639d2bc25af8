"""Three disjoint splits: calibration to compress, validation to choose, test for the figure that is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from autocompress.errors import DataError
from autocompress.model import Texts

if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.evaluator import Batch
    from autocompress.inputs import Encode

NAMES = ("calibration", "validation", "test")
SHARES = (0.15, 0.45, 0.4)
SMALLEST = (8, 16, 16)
LARGEST = (256, 384, 384)
GROUPS_NEEDED = 12
"""From this many groups on, whole groups go to a split; below, rows do."""
NOT_INPUTS = ("labels", "group")


@dataclass(frozen=True)
class Splits:
    """Model inputs by name, (rows, ...), in three disjoint splits; ``group`` (rows,) numbers the topic of a row."""

    calibration: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    test: Mapping[str, Tensor]
    source: str = ""


def split_texts(
    rows: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    source: str = "texts",
    largest: tuple[int, int, int] = LARGEST,
) -> Texts:
    """Texts in three splits with no text in two of them; with enough groups, no group in two of them.

    The same rows and seed give the same splits, and the beginning of a split is a random sample of it. Rows beyond
    ``largest`` are left out. Raises DataError when there are fewer distinct texts than the splits need.
    """
    if groups is not None and len(groups) != len(rows):
        raise DataError(f"{source}: {len(rows)} texts and {len(groups)} groups: expected one group a text.")
    distinct: dict[str, tuple[str, str]] = {}
    for position, row in enumerate(rows):
        text = " ".join(row.split())
        if text:
            distinct.setdefault(text.casefold(), (text, groups[position] if groups is not None else ""))
    _check_enough(len(distinct), len(rows), source)
    shuffled = sorted(distinct.values(), key=lambda pair: _digest(seed, pair[0]))
    parts = _by_group(shuffled, seed) if groups is not None else None
    how = "split by group" if parts else "split by row"
    kept = [part[:most] for part, most in zip(parts or _by_row(shuffled), largest, strict=True)]
    counts = "/".join(str(len(part)) for part in kept)
    calibration, validation, test = (tuple(text for text, _ in part) for part in kept)
    return Texts(
        calibration,
        validation,
        test,
        groups={} if groups is None else {n: tuple(g for _, g in part) for n, part in zip(NAMES, kept, strict=True)},
        source=f"{source}: {counts} texts for {'/'.join(NAMES)}, {how}",
    )


def encode_texts(texts: Texts, encode: Encode, sequence: int) -> Splits:
    """Texts as model inputs of ``sequence`` tokens; groups become integers that mean the same in all splits."""
    import torch

    number = {name: index for index, name in enumerate(sorted({g for part in texts.groups.values() for g in part}))}

    def inputs(name: str) -> dict[str, Tensor]:
        found = encode(getattr(texts, name), sequence)
        if name in texts.groups:
            found["group"] = torch.tensor([number[group] for group in texts.groups[name]])
        return found

    return Splits(inputs("calibration"), inputs("validation"), inputs("test"), source=texts.source)


def batches(inputs: Mapping[str, Tensor], rows: int) -> list[Batch]:
    """The inputs in batches of ``rows`` in their order; the last one may be smaller. No copy is made."""
    if rows < 1:
        raise DataError(f"batch of {rows} rows: expected 1 or more.")
    count = min(len(value) for value in inputs.values())
    return [{name: value[start : start + rows] for name, value in inputs.items()} for start in range(0, count, rows)]


def _check_enough(count: int, given: int, source: str) -> None:
    if count == 0:
        raise DataError(f"{source}: no rows: expected at least {sum(SMALLEST)}; give a file with data in it.")
    if count < sum(SMALLEST):
        parts = ", ".join(f"{least} for {name}" for least, name in zip(SMALLEST, NAMES, strict=True))
        raise DataError(
            f"{source}: {count} distinct rows (of {given}): expected at least {sum(SMALLEST)} ({parts}); "
            "give more rows."
        )


def _digest(seed: int, text: str) -> bytes:
    return sha256(f"{seed}\0{text}".encode()).digest()


def _by_row(rows: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    first, second = cuts(len(rows))
    return [rows[:first], rows[first:second], rows[second:]]


def cuts(count: int) -> tuple[int, int]:
    """Where calibration and validation end among ``count`` rows, of which there are enough."""
    first = max(SMALLEST[0], round(SHARES[0] * count))
    second = first + max(SMALLEST[1], round(SHARES[1] * count))
    return first, min(second, count - SMALLEST[2])


def _by_group(rows: list[tuple[str, str]], seed: int) -> list[list[tuple[str, str]]] | None:
    """Whole groups to splits, the largest first to where most rows are missing; None if that comes out too uneven."""
    sizes = Counter(group for _, group in rows)
    if len(sizes) < GROUPS_NEEDED:
        return None
    have, place = [0, 0, 0], {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], _digest(seed, name))):
        missing = [share - count / len(rows) for share, count in zip(SHARES, have, strict=True)]
        place[group] = missing.index(max(missing))
        have[place[group]] += sizes[group]
    for count, share, least in zip(have, SHARES, SMALLEST, strict=True):
        if count < max(least, 0.5 * share * len(rows)):
            return None
    return [[row for row in rows if place[row[1]] == index] for index in range(3)]
