"""How quality is measured: the evaluator, by name or by what model and data are, tried on the dense model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from autocompress.contracts.evaluator import NOT_INPUTS, Batch, Evaluator, Run, Score, inputs_of
from autocompress.contracts.model import LoadedModel
from autocompress.errors import AutocompressError, DataError, TrialError, UsageError
from autocompress.plugin.registry import Registry
from autocompress.request.request import SearchRequest
from autocompress.structure.trace import call


class CallableEvaluator(Evaluator):
    """A user's ``function(run, batches) -> float``; higher is better. ``run(batch)`` gives the model's raw output."""

    name = "callable"
    metric = "score"
    reads = tuple(sorted(NOT_INPUTS))

    def __init__(self, function: Callable[..., float]) -> None:
        self._function = function
        self.metric = getattr(function, "__name__", "score")  # type: ignore[misc]  # the instance's own name

    def reference(self, run: Run, batches: Sequence[Batch]) -> Any:  # noqa: ARG002
        return None

    def score(self, run: Run, batches: Sequence[Batch], reference: Any) -> Score:  # noqa: ARG002
        try:
            return Score(float(self._function(run, batches)))
        except (Exception, SystemExit) as error:  # a user's function may raise anything: this point fails
            raise TrialError(f"evaluator {self.metric!r}: {type(error).__name__}: {error}") from error


def first_output(model: nn.Module, batch: Batch) -> Any:
    """The dense model's output on the first batch of the data. Raises DataError where it does not run on it."""
    try:
        with torch.no_grad():
            return call(model, batch)
    except (Exception, SystemExit) as error:  # whatever a model's code makes of data that is not for it
        given = ", ".join(f"{name} {_form(value)}" for name, value in inputs_of(batch).items())
        cause = " ".join(str(error).split())[:300]
        raise DataError(
            f"the model does not run on the data ({given}): {type(error).__name__}: {cause}; expected inputs of the "
            "shapes and number formats that the model takes."
        ) from error


def choose_evaluator(
    request: SearchRequest,
    registry: Registry,
    loaded: LoadedModel,
    rows: Mapping[str, Sequence[Batch]],
    output: Any,
    *,
    scored: bool = True,
) -> tuple[Evaluator, list[str]]:
    """The evaluator that was asked for, or the task's, and lines for the user.

    Of several for a task it is the one that needs most of what the data has, then the first by name, that can judge
    the dense model's output. Raises UsageError when the one asked for cannot, or lacks data; when none can. Nothing of
    that matters where nothing will be ``scored``.
    """
    batches = [batch for name in ("search", "selection", "test") for batch in rows[name]]
    has = {name for name in NOT_INPUTS if name in batches[0]}
    given = _given(request, registry)
    refused: dict[str, str] = {}
    if given is not None:
        if scored:
            _check(given, has, output, batches)
        return given, _unused(given, has, refused)
    for evaluator in sorted(
        (one for one in registry.evaluators.values() if loaded.task in one.tasks and set(one.needs) <= has),
        key=lambda one: -len(one.needs),
    ):
        reason = evaluator.unsuited(output, batches) if scored else ""
        if not reason:
            notes = [f"task {loaded.task}: quality is {evaluator.metric} (evaluator {evaluator.name})"]
            return evaluator, [*notes, *_unused(evaluator, has, refused)]
        refused[evaluator.name] = reason
    causes = "".join(f" ({name}: {reason})" for name, reason in refused.items())
    raise UsageError(
        f"no installed evaluator is for task {loaded.task!r}{causes}; name one of "
        f"{', '.join(registry.evaluators)} with --evaluator, or another --task."
    )


def try_evaluator(evaluator: Evaluator, model: nn.Module, batches: Sequence[Batch]) -> None:
    """Score the dense model, so that an evaluator that lacks something says so before anything is measured.

    On the first batch; on all of them only where that fails, since a metric may need more rows than one batch has.
    Raises UsageError that names the evaluator.
    """

    def run(one: Batch) -> Any:
        with torch.no_grad():
            return call(model, one)

    def score(some: Sequence[Batch]) -> None:
        value = evaluator.score(run, some, evaluator.reference(run, some)).value
        if not math.isfinite(value):
            raise TrialError(f"its score is {value}")

    try:
        try:
            score(batches[:1])
        except (Exception, SystemExit):  # noqa: BLE001 - told below, if more rows do not mend it
            score(batches)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's code; KeyError where a batch lacks what it reads
        batch = batches[0]
        told = str(error) if isinstance(error, AutocompressError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"evaluator {evaluator.name!r} cannot score the dense model: {' '.join(told.split())}; the batches hold "
            f"{', '.join(f'{name} {_form(value)}' for name, value in batch.items())}."
        ) from error


def _given(request: SearchRequest, registry: Registry) -> Evaluator | None:
    if isinstance(request.evaluator, Evaluator):
        return request.evaluator
    if isinstance(request.evaluator, str):
        return registry.evaluator(request.evaluator)
    return CallableEvaluator(request.evaluator) if callable(request.evaluator) else None


def _check(evaluator: Evaluator, has: set[str], output: Any, batches: Sequence[Batch]) -> None:
    lacking = [name for name in evaluator.needs if name not in has]
    if lacking:
        raise DataError(
            f"evaluator {evaluator.name!r} needs {lacking[0]}, and the data has none: expected a column in a csv or "
            f"json file (--{lacking[0]} COLUMN), or a tensor {lacking[0]!r} among tensors."
        )
    reason = evaluator.unsuited(output, batches)
    if reason:
        raise UsageError(f"evaluator {evaluator.name!r} cannot judge this model: {reason}; name another --evaluator.")


def _unused(evaluator: Evaluator, has: set[str], refused: Mapping[str, str]) -> list[str]:
    """One line for what the data brings and nobody will use."""
    left = sorted(has - {*evaluator.needs, *evaluator.reads} - {"group"})
    causes = "".join(f"; {name} does not fit: {reason}" for name, reason in refused.items())
    return [f"{name} are given, and {evaluator.name} does not declare that it reads them{causes}" for name in left]


def _form(value: Any) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
