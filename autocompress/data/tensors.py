"""Tensors by input name, from Python or a safetensors file, in three disjoint splits by the same law as texts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.basics.matching import near_misses
from autocompress.basics.read_file import read_whole
from autocompress.basics.schema import cause
from autocompress.contracts.evaluator import NOT_INPUTS
from autocompress.data.splits import NAMES, SMALLEST, Splits, cuts, strata_of, stratified
from autocompress.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIX = ".safetensors"
LARGEST = 1 << 36
"""Bytes of a file of tensors."""
LABEL = "label"
"""What ``labels`` may be called as well, unless it is an argument of the model."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by input name from a safetensors file, which cannot run code. Raises DataError when it is not one."""
    from safetensors.torch import load

    content = read_whole(path, DataError, expected="a data file with tensors by input name", largest=LARGEST)
    try:
        found = load(content)
    except Exception as error:  # safetensors has one error class per fault, none of them public in all versions
        raise DataError(
            f"cannot read {str(path)!r} as safetensors ({cause(error)}): expected a file that "
            "safetensors.torch.save_file wrote; write it again."
        ) from error
    if not found:
        raise DataError(f"{str(path)!r} holds no tensor: expected tensors of shape (rows, ...) by input name.")
    return found


def splits_of_tensors(
    data: Mapping[str, Tensor] | Tensor | Sequence[Mapping[str, Tensor] | Tensor],
    model: nn.Module,
    *,
    seed: int = 0,
    what: str = "data",
) -> Splits:
    """Inputs by name (rows, ...), split 15 / 45 / 40 %; or a triple of them that is split already.

    A bare tensor is the model's first argument. Rows that occur twice are kept once. Every split has every label in
    the same share. Raises DataError when inputs differ in rows or are not the model's, when rows are too few, and when
    a row of one given split is in another.
    """
    import torch

    if isinstance(data, (Mapping, torch.Tensor)):
        return _split(_named(data, model, what), seed, what)
    if isinstance(data, (tuple, list)) and len(data) == 3:
        parts = [_named(part, model, name) for part, name in zip(data, NAMES, strict=True)]
        _check_disjoint(parts)
        return _splits(parts)
    given = f"a {type(data).__name__}" + (f" of {len(data)}" if isinstance(data, (tuple, list)) else "")
    raise DataError(
        f"{what} is {given}: expected a tensor, tensors by input name, or a triple of them: "
        "(calibration, validation, test)."
    )


def _named(data: Mapping[str, Tensor] | Tensor, model: nn.Module, what: str) -> dict[str, Tensor]:
    """The inputs by name, checked to be the model's and to have the same number of rows."""
    import torch

    named = {_first_argument(model): data} if isinstance(data, torch.Tensor) else dict(data)
    for name, value in named.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0:
            raise DataError(
                f"{what}: {name!r} is no tensor of rows: expected tensors of shape (rows, ...) by input name."
            )
    named = _check_names(named, model, what)
    counts = {name: len(value) for name, value in named.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{what}: the inputs have different numbers of rows {counts}: expected the same for all.")
    if "labels" in named and not (named["labels"].is_floating_point() or named["labels"].is_complex()):
        named["labels"] = named["labels"].long()
    return named


def _check_names(named: dict[str, Tensor], model: nn.Module, what: str) -> dict[str, Tensor]:
    """The tensors under the names that they have in a batch. Raises DataError on one that the model does not take."""
    parameters = inspect.signature(model.forward).parameters
    takes = {
        name: one.default is one.empty
        for name, one in parameters.items()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and name not in NOT_INPUTS
    }
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if LABEL in named and LABEL not in takes:
        if "labels" in named:
            raise DataError(f"{what}: both 'label' and 'labels': expected one of them.")
        named["labels"] = named.pop(LABEL)
    inputs = [name for name in named if name not in NOT_INPUTS]
    if not inputs:
        raise DataError(
            f"{what}: no model input among {sorted(named)}: expected tensors by the model's argument names: "
            f"{_listed(takes)}."
        )
    strange = [name for name in inputs if name not in takes]
    if strange and not (anything and _wraps(takes)):
        close = near_misses(strange[0], takes, limit=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise DataError(
            f"{what}: {type(model).__name__} takes no input {strange[0]!r}. {hint}Expected: {_listed(takes)}; and "
            f"{' and '.join(sorted(NOT_INPUTS, reverse=True))} for the evaluator."
        )
    absent = [name for name, required in takes.items() if required and name not in named]
    if absent:
        raise DataError(
            f"{what}: {type(model).__name__} needs {absent[0]!r}, the tensors are {', '.join(sorted(named))}: "
            "expected every argument without a default."
        )
    return named


def _wraps(takes: Mapping[str, bool]) -> bool:
    """Whether ``**kwargs`` stands for the inputs themselves: Transformers' models also have it, for options."""
    return len(takes) < 2 or all(takes.values())


def _listed(takes: Mapping[str, bool]) -> str:
    """The names of the arguments, those that are needed first."""
    return ", ".join(sorted(takes, key=lambda name: not takes[name])) or "none by name"


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


def _split(inputs: dict[str, Tensor], seed: int, what: str) -> Splits:
    import torch

    distinct: dict[bytes, int] = {}
    for index, key in enumerate(_digests(inputs)):
        distinct.setdefault(key, index)
    count = len(distinct)
    if count < sum(SMALLEST):
        raise DataError(
            f"{what} has {count} distinct rows (of {_rows(inputs)}): expected at least {sum(SMALLEST)}; "
            "give more rows, or a triple (calibration, validation, test) of your own."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.tensor(list(distinct.values()))[torch.randperm(count, generator=generator)]
    labels = inputs.get("labels")
    strata = strata_of(labels.cpu()[order].tolist()) if labels is not None and labels.ndim == 1 else None
    if strata is not None:
        order = order[torch.tensor(stratified(strata, seed))]
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
    for name in sorted(set(inputs) - NOT_INPUTS):
        flat = inputs[name].detach().cpu().contiguous().reshape(len(digests), -1)
        for digest, row in zip(digests, flat.view(torch.uint8).numpy() if flat.numel() else (), strict=True):
            digest.update(row.tobytes())
    return [digest.digest() for digest in digests]
