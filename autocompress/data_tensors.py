"""Tensors from Python in three disjoint splits, by the same law as texts: no row is in two of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from autocompress.data_splits import NAMES, NOT_INPUTS, SMALLEST, Splits, cuts
from autocompress.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn


def splits_of_tensors(
    data: Mapping[str, Tensor] | Tensor | Sequence[Mapping[str, Tensor] | Tensor], model: nn.Module, *, seed: int = 0
) -> Splits:
    """Inputs by name (rows, ...), split 15 / 45 / 40 %; or a triple of them that is split already.

    A bare tensor is the model's first argument. Rows that occur twice are kept once. Raises DataError when inputs
    differ in rows, when rows are too few, and when a row of one given split is in another.
    """
    import torch

    if isinstance(data, (Mapping, torch.Tensor)):
        return _split(_named(data, model, "data"), seed)
    if isinstance(data, (tuple, list)) and len(data) == 3:
        parts = [_named(part, model, name) for part, name in zip(data, NAMES, strict=True)]
        _check_disjoint(parts)
        return _splits(parts)
    given = f"a {type(data).__name__}" + (f" of {len(data)}" if isinstance(data, (tuple, list)) else "")
    raise DataError(
        f"data is {given}: expected a tensor, tensors by input name, or a triple of them: "
        "(calibration, validation, test)."
    )


def _named(data: Mapping[str, Tensor] | Tensor, model: nn.Module, what: str) -> dict[str, Tensor]:
    """The inputs by name, checked to have the same number of rows."""
    import torch

    named = {_first_argument(model): data} if isinstance(data, torch.Tensor) else dict(data)
    for name, value in named.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0:
            raise DataError(
                f"{what}: {name!r} is no tensor of rows: expected tensors of shape (rows, ...) by input name."
            )
    if not set(named) - set(NOT_INPUTS):
        raise DataError(
            f"{what}: no model input among {sorted(named)}: expected tensors by the model's argument names."
        )
    counts = {name: len(value) for name, value in named.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{what}: the inputs have different numbers of rows {counts}: expected the same for all.")
    return named


def _first_argument(model: nn.Module) -> str:
    """The name of the first argument of ``forward``."""
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_OR_KEYWORD, first.KEYWORD_ONLY):
        raise DataError(
            f"data is a bare tensor, but {type(model).__name__}.forward does not name its first argument: "
            "expected forward(self, x, ...); name the argument."
        )
    return first.name


def _rows(inputs: Mapping[str, Tensor]) -> int:
    return len(next(iter(inputs.values())))


def _split(inputs: dict[str, Tensor], seed: int) -> Splits:
    import torch

    distinct: dict[bytes, int] = {}
    for index, key in enumerate(_digests(inputs)):
        distinct.setdefault(key, index)
    count = len(distinct)
    if count < sum(SMALLEST):
        raise DataError(
            f"data has {count} distinct rows (of {_rows(inputs)}): expected at least {sum(SMALLEST)}; "
            "give more rows, or a triple (calibration, validation, test) of your own."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.tensor(list(distinct.values()))[torch.randperm(count, generator=generator)]
    first, second = cuts(count)
    parts = [
        {name: value[rows.to(value.device)] for name, value in inputs.items()}
        for rows in (order[:first], order[first:second], order[second:])
    ]
    return _splits(parts)


def _splits(parts: Sequence[Mapping[str, Tensor]]) -> Splits:
    calibration, validation, test = parts
    counts = "/".join(str(_rows(part)) for part in parts)
    return Splits(calibration, validation, test, source=f"{counts} rows for {'/'.join(NAMES)}")


def _check_disjoint(parts: Sequence[Mapping[str, Tensor]]) -> None:
    seen: dict[bytes, tuple[str, int]] = {}
    for name, part in zip(NAMES, parts, strict=True):
        if _rows(part) == 0:
            raise DataError(f"the {name} split has no rows: expected at least one in each of {', '.join(NAMES)}.")
        for index, key in enumerate(_digests(part)):
            other, row = seen.setdefault(key, (name, index))
            if other != name:
                raise DataError(
                    f"row {index} of the {name} split is also row {row} of {other}: expected disjoint splits; "
                    "remove it from one of them."
                )


def _digests(inputs: Mapping[str, Tensor]) -> list[bytes]:
    """One digest a row over all inputs; labels and groups do not make a row another row."""
    import torch

    digests = [sha256() for _ in range(_rows(inputs))]
    for name in sorted(set(inputs) - set(NOT_INPUTS)):
        flat = inputs[name].detach().cpu().contiguous().reshape(len(digests), -1)
        for digest, row in zip(digests, flat.view(torch.uint8).numpy() if flat.numel() else (), strict=True):
            digest.update(row.tobytes())
    return [digest.digest() for digest in digests]
