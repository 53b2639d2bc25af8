"""Everything a search starts from: names checked, model loaded, data split, target detected, layers found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.artifact.writer import is_transformers
from autocompress.data import Splits, batches, encode_texts, python_topics, read_texts, splits_of_tensors
from autocompress.errors import DataError, ModelError, TrialError, UsageError
from autocompress.evaluator import Batch, Evaluator, Run, Score
from autocompress.layer import Layer
from autocompress.matching import unknown
from autocompress.measure.machine import detect_target, prepare_process
from autocompress.model import LoadedModel, Texts
from autocompress.objective import Budget, Objective
from autocompress.plugins import Registry, load_registry, missing
from autocompress.run.progress import Event, Progress
from autocompress.run.request import SearchRequest
from autocompress.runtime import Runtime
from autocompress.space import SearchSpace
from autocompress.space_file import load_space
from autocompress.structure import find_layers
from autocompress.target import Target

ROWS = 16
"""Rows per scoring batch."""
CALIBRATION, SEARCH, SELECTION, TEST, PROBE = 96, 128, 256, 256, 48
"""The most rows of each split that are used."""


@dataclass(frozen=True)
class Names:
    """What can be checked before anything is loaded."""

    registry: Registry
    runtime: Runtime
    budgets: tuple[Budget, ...]
    objectives: tuple[Objective, ...]
    space: SearchSpace | None
    texts: Texts | None
    target: Target


@dataclass(frozen=True)
class Setup:
    """The parts of a search.

    rows      batches per split: calibration, search, selection, test.
    contents  digests of the model's weights and of the data.
    """

    request: SearchRequest
    names: Names
    loaded: LoadedModel
    model: nn.Module
    evaluator: Evaluator
    space: SearchSpace
    layers: tuple[Layer, ...]
    splits: Splits
    rows: Mapping[str, list[Batch]]
    example: dict[str, Tensor]
    contents: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def target(self) -> Target:
        return self.names.target

    @property
    def registry(self) -> Registry:
        return self.names.registry


class CallableEvaluator(Evaluator):
    """A user's ``function(run, batches) -> float``; higher is better. ``run(batch)`` gives the model's raw output."""

    name = "callable"
    metric = "score"

    def __init__(self, function: Callable[..., float]) -> None:
        self._function = function
        self.metric = getattr(function, "__name__", "score")  # type: ignore[misc]  # the instance's own name

    def reference(self, run: Run, batches: Sequence[Batch]) -> Any:  # noqa: ARG002
        return None

    def score(self, run: Run, batches: Sequence[Batch], reference: Any) -> Score:  # noqa: ARG002
        try:
            return Score(float(self._function(run, batches)))
        except Exception as error:  # a user's function may raise anything; this point fails, the search goes on
            raise TrialError(f"evaluator {self.metric!r}: {type(error).__name__}: {error}") from error


def check_names(request: SearchRequest, *, budgets: bool = True) -> Names:
    """Resolve every name and value of a request that needs no model. Raises UsageError for the first bad one."""
    registry = load_registry(request.plugins)
    runtime = registry.runtime(request.runtime)
    absent = missing(runtime.requires)
    if absent:
        raise UsageError(f"runtime {runtime.name!r} is not installed; run: {absent}")
    if isinstance(request.evaluator, str):
        registry.evaluator(request.evaluator)
    tasks = sorted({task for evaluator in registry.evaluators.values() for task in evaluator.tasks})
    if request.task is not None and request.task not in tasks:
        raise UsageError(unknown("task", request.task, tasks))
    if request.sampler not in registry.samplers:
        raise UsageError(unknown("sampler", request.sampler, registry.samplers))
    space = load_space(request.space, registry.search_spaces) if request.space is not None else None
    for rule in space.rules if space else ():
        registry.technique(rule.technique)
    known = tuple(registry.objectives.values())
    parsed = request.parsed_budgets(known) if budgets else ()
    named = {budget.objective.name for budget in parsed}
    objectives = (*request.objectives, *(objective for objective in known if objective.name in named))
    texts = None
    if isinstance(request.data, str | Path):
        texts = read_texts(Path(request.data), column=request.column, seed=request.seed)
    target = detect_target(request.device, request.runtime, request.batch, request.sequence, request.threads)
    reason = runtime.unavailable(target)
    if reason:
        raise UsageError(f"runtime {runtime.name!r} cannot run on {target.device}: {reason}")
    return Names(registry, runtime, parsed, objectives, space, texts, target)


def set_up(request: SearchRequest, names: Names, progress: Progress) -> Setup:
    """Load the model and its data, and find its layers."""
    prepare_process(names.target)
    progress(Event("load", message=f"loading {request.model_name}"))
    loaded = _load(request, names.registry)
    notes = list(loaded.notes)
    device = names.target.device
    model = loaded.model.to(device).eval()
    evaluator = _evaluator(request, names.registry, loaded, notes)
    space = names.space or load_space("encoder-cpu" if device == "cpu" else "full", names.registry.search_spaces)
    if names.space is None:
        notes.append(f"no space named: {space.name} ({space.description.split(':')[0].rstrip('.')})")
    splits = _splits(request, names, loaded, notes)
    rows = {name: _on(device, group) for name, group in _rows(splits).items()}
    shape = (request.batch, request.sequence)
    example = _on(device, [loaded.example(*shape) if loaded.example else _cycle(splits.calibration, request.batch)])[0]
    progress(Event("load", message="finding layers"))
    small = loaded.example(2, min(8, request.sequence)) if loaded.example else _cycle(splits.calibration, 2)
    layers = find_layers(model, _on(device, [small])[0], rows["calibration"])
    for note in notes:
        progress(Event("load", message=note, note=True))
    contents = {"model": digest_of(model.state_dict()), "data": digest_of(_all_rows(splits))}
    return Setup(
        request, names, loaded, model, evaluator, space, layers, splits, rows, dict(example), contents, tuple(notes)
    )  # fmt: skip


def base_of(setup: Setup) -> nn.Module | None:
    """What loading an artifact needs: the dense module itself, unless Transformers knows how to build its class."""
    return None if setup.loaded.source and is_transformers(setup.model) else setup.model


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hex digits that name tensors by content."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def _load(request: SearchRequest, registry: Registry) -> LoadedModel:
    if isinstance(request.model, nn.Module):
        model = request.model.eval()
        return LoadedModel(model=model, source="", task=request.task or "other")
    found = registry.manager.hook.autocompress_load_model(
        source=str(request.model),
        task=request.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )
    if not isinstance(found, LoadedModel):
        raise ModelError(f"no installed plugin can load {request.model!r}; give a folder, a hub id, or 'demo'.")
    return found


def _evaluator(request: SearchRequest, registry: Registry, loaded: LoadedModel, notes: list[str]) -> Evaluator:
    if isinstance(request.evaluator, Evaluator):
        return request.evaluator
    if isinstance(request.evaluator, str):
        return registry.evaluator(request.evaluator)
    if callable(request.evaluator):
        return CallableEvaluator(request.evaluator)
    for evaluator in registry.evaluators.values():
        if loaded.task in evaluator.tasks:
            notes.append(f"task {loaded.task}: quality is the {evaluator.metric} of {evaluator.name}")
            return evaluator
    raise UsageError(f"no installed evaluator is for task {loaded.task!r}; name one with --evaluator.")


def _splits(request: SearchRequest, names: Names, loaded: LoadedModel, notes: list[str]) -> Splits:
    texts = names.texts if names.texts is not None else request.data if isinstance(request.data, Texts) else None
    if texts is None and request.data is not None:
        return splits_of_tensors(request.data, loaded.model, seed=request.seed)
    if texts is None and loaded.default_texts is not None:
        texts = loaded.default_texts()
    if texts is None and loaded.encode is not None:
        texts = python_topics()
        notes.append("no data given: English text from Python's own documentation; give --data for your own")
    if texts is None:
        raise DataError(f"model {request.model_name!r} comes without data: give data, tensors by input name.")
    if loaded.encode is None:
        raise DataError(
            f"model {request.model_name!r} has no tokenizer, so text cannot be encoded; give tensors as data."
        )
    return encode_texts(texts, loaded.encode, request.sequence)


def _rows(splits: Splits) -> dict[str, list[Batch]]:
    """Batches per use. The validation split serves search and selection by halves, so that they stay disjoint."""
    count = len(next(iter(splits.validation.values())))
    half = min(SEARCH, count // 2)
    pieces = {
        "calibration": _slice(splits.calibration, 0, CALIBRATION),
        "probe": _slice(splits.calibration, 0, PROBE),
        "search": _slice(splits.validation, 0, half),
        "selection": _slice(splits.validation, half, half + SELECTION),
        "test": _slice(splits.test, 0, TEST),
    }
    return {name: batches(piece, ROWS) for name, piece in pieces.items()}


def _slice(rows: Mapping[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
    return {name: tensor[start:stop] for name, tensor in rows.items()}


def _cycle(rows: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    have = len(next(iter(rows.values())))
    index = torch.arange(count) % have
    return {name: tensor[index] for name, tensor in rows.items() if name not in ("labels", "group")}


def _on(device: str, group: Sequence[Mapping[str, Tensor]]) -> list[Batch]:
    return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in group]


def _all_rows(splits: Splits) -> dict[str, Tensor]:
    named = {"calibration": splits.calibration, "validation": splits.validation, "test": splits.test}
    return {f"{split}.{name}": tensor for split, rows in named.items() for name, tensor in rows.items()}
