"""Three disjoint splits: calibration to compress, validation to choose, test for the figure that is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autocompress.contracts.model import Texts
from autocompress.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.contracts.evaluator import Batch
    from autocompress.loading.inputs import Encode

NAMES = ("calibration", "validation", "test")
SHARES = (0.15, 0.45, 0.4)
SMALLEST = (8, 16, 16)
LARGEST = (256, 384, 384)
GROUPS_NEEDED = 12
"""From this many groups on, whole groups go to a split; below, rows do."""
RARE = 3
"""A label on fewer rows than there are splits cannot be in all of them."""

Row = tuple[str, str, Any]
"""Text, group, label."""


@dataclass(frozen=True)
class Splits:
    """Model inputs by name, (rows, ...), in three disjoint splits.

    ``labels`` (rows, ...) are for evaluators; ``group`` (rows,) numbers the topic of a row.
    """

    calibration: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    test: Mapping[str, Tensor]
    source: str = ""


def split_texts(
    rows: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    labels: Sequence[Any] | None = None,
    seed: int = 0,
    source: str = "texts",
    notes: tuple[str, ...] = (),
    largest: tuple[int, int, int] = LARGEST,
) -> Texts:
    """Texts in three splits with no text in two of them; with enough groups, no group in two of them.

    With labels every split has every label in the same share, as far as their rows go. The same rows and seed give the
    same splits, and the beginning of a split is a random sample of it. Rows beyond ``largest`` are left out. Raises
    DataError when there are fewer distinct texts than the splits need.
    """
    for what, given in (("groups", groups), ("labels", labels)):
        if given is not None and len(given) != len(rows):
            raise DataError(f"{source}: {len(rows)} texts and {len(given)} {what}: expected one of them a text.")
    distinct: dict[str, tuple[str, str, Any]] = {}
    contradicted = set()
    for position, row in enumerate(rows):
        text, key = " ".join(row.split()), " ".join(row.split()).casefold()
        label = labels[position] if labels is not None else None
        if text:
            first = distinct.setdefault(key, (text, groups[position] if groups is not None else "", label))
            if first[2] != label:
                contradicted.add(key)
    _check_enough(len(distinct), len(rows), source)
    shuffled = sorted(distinct.values(), key=lambda one: _digest(seed, one[0]))
    strata = None if labels is None else strata_of([label for _, _, label in shuffled])
    if contradicted:
        notes = (*notes, f"{len(contradicted)} texts occur with more than one label: the first one counts")
    if strata is not None:
        shuffled = [shuffled[index] for index in stratified(strata, seed)]
        notes = (*notes, *rare_labels(strata))
    parts = _by_group(shuffled, seed) if groups is not None else None
    how = "split by group" if parts else "split by row" + (", stratified by label" if strata is not None else "")
    kept = [part[:most] for part, most in zip(parts or _by_row(shuffled), largest, strict=True)]
    counts = "/".join(str(len(part)) for part in kept)
    calibration, validation, test = (tuple(text for text, _, _ in part) for part in kept)
    named = dict(zip(NAMES, kept, strict=True))
    return Texts(
        calibration,
        validation,
        test,
        groups={} if groups is None else {name: tuple(group for _, group, _ in part) for name, part in named.items()},
        source=f"{source}: {counts} texts for {'/'.join(NAMES)}, {how}",
        labels={} if labels is None else {name: tuple(label for _, _, label in part) for name, part in named.items()},
        notes=notes,
    )


def encode_texts(
    texts: Texts, encode: Encode, sequence: int, labels: Mapping[str, Tensor] = MappingProxyType({})
) -> Splits:
    """Texts as model inputs of ``sequence`` tokens; groups become integers that mean the same in all splits.

    labels   by split, (rows, ...): what `data_labels.encode_labels` made of the texts' labels.
    """
    import torch

    number = {name: index for index, name in enumerate(sorted({g for part in texts.groups.values() for g in part}))}

    def inputs(name: str) -> dict[str, Tensor]:
        found = encode(getattr(texts, name), sequence)
        if name in texts.groups:
            found["group"] = torch.tensor([number[group] for group in texts.groups[name]])
        if name in labels:
            found["labels"] = labels[name]
        return found

    return Splits(inputs("calibration"), inputs("validation"), inputs("test"), source=texts.source)


def strata_of(labels: Sequence[Any]) -> list[str] | None:
    """What rows are stratified by: their labels, unless these are quantities."""
    if any(isinstance(label, float) for label in labels):
        return None
    return [str(label) for label in labels]


def stratified(strata: Sequence[str], seed: int) -> list[int]:
    """An order of the rows in which every stretch holds every stratum in its share of the whole, give or take a row.

    Rows of a stratum keep their order and are spread evenly, from a start that the seed draws.
    """
    counts, seen = Counter(strata), Counter[str]()
    starts = {name: int.from_bytes(_digest(seed, name)[:6]) / 2**48 for name in counts}
    places = []
    for index, name in enumerate(strata):
        places.append(((seen[name] + starts[name]) / counts[name], index))
        seen[name] += 1
    return [index for _, index in sorted(places)]


def rare_labels(strata: Sequence[str]) -> list[str]:
    """What the user should know about labels that the splits cannot share evenly."""
    counts = Counter(strata)
    if len(counts) == 1:
        return [f"every row has the label {strata[0]!r}: they cannot tell how well classes are told apart"]
    rare = sorted(name for name, count in counts.items() if count < RARE)
    if not rare:
        return []
    shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
    return [f"{len(rare)} of {len(counts)} labels have fewer than {RARE} rows and are not in every split: {shown}"]


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


def _by_row(rows: list[Row]) -> list[list[Row]]:
    first, second = cuts(len(rows))
    return [rows[:first], rows[first:second], rows[second:]]


def cuts(count: int) -> tuple[int, int]:
    """Where calibration and validation end among ``count`` rows, of which there are enough."""
    first = max(SMALLEST[0], round(SHARES[0] * count))
    second = first + max(SMALLEST[1], round(SHARES[1] * count))
    return first, min(second, count - SMALLEST[2])


def _by_group(rows: list[Row], seed: int) -> list[list[Row]] | None:
    """Whole groups to splits, the largest first to where most rows are missing; None if that comes out too uneven."""
    sizes = Counter(group for _, group, _ in rows)
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
