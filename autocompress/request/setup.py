"""Everything a search starts from: names checked, model loaded, data split, target detected, layers found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from autocompress.artifact.writer import is_transformers
from autocompress.contracts.evaluator import Batch, Evaluator, inputs_of
from autocompress.contracts.model import LoadedModel, Texts
from autocompress.contracts.runtime import Program
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.core.progress import Event, Progress
from autocompress.core.target import Target
from autocompress.data import Splits, batches, encode_labels, encode_texts, python_topics, splits_of_tensors
from autocompress.errors import DataError, ModelError
from autocompress.measure.machine import prepare_process
from autocompress.plugin.registry import Registry
from autocompress.request.names import Names, check_names
from autocompress.request.quality import choose_evaluator, first_output, try_evaluator
from autocompress.request.request import SearchRequest
from autocompress.space.binding import SearchSpace
from autocompress.space.file import load_space
from autocompress.structure import find_layers

__all__ = ["Names", "Setup", "base_of", "check_names", "digest_of", "set_up"]

ROWS = 16
"""Rows per scoring batch."""
CALIBRATION, SEARCH, SELECTION, TEST, PROBE = 96, 128, 256, 256, 48
"""The most rows of each split that are used."""


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

    def lower(self, model: nn.Module, policy: Policy) -> Program:
        """What is timed and scored of a compressed copy of the model."""
        return self.names.runtime.lower(model, policy, self.example, target=self.target)

    @cached_property
    def program(self) -> Program:
        """The dense model's own, built once for the whole search: some runtimes take long for it."""
        return self.lower(self.model, Policy())


def set_up(request: SearchRequest, names: Names, progress: Progress) -> Setup:
    """Load the model and its data, and find its layers."""
    prepare_process(names.target)
    progress(Event("load", message=f"loading {request.model_name}"))
    loaded = _load(request, names.registry)
    notes = list(loaded.notes)
    device = names.target.device
    model = loaded.model.to(device).eval()
    space = names.space or load_space("encoder-cpu" if device == "cpu" else "full", names.registry.search_spaces)
    if names.space is None:
        notes.append(f"no space named: {space.name} ({space.description.split(':')[0].rstrip('.')})")
    splits = _splits(request, names, loaded, notes)
    rows = {name: _on(device, group) for name, group in _rows(splits).items()}
    output = first_output(model, rows["calibration"][0])
    evaluator, told = choose_evaluator(request, names.registry, loaded, rows, output, scored=names.scored)
    if names.scored:
        notes += told
        try_evaluator(evaluator, model, rows["search"])
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
    found, loader = registry.load_model(
        source=str(request.model),
        task=request.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )
    if found is None:
        raise ModelError(f"no installed plugin can load {request.model!r}; give a folder, a hub id, or 'demo'.")
    return replace(found, source=str(request.model), loader=loader)


def _splits(request: SearchRequest, names: Names, loaded: LoadedModel, notes: list[str]) -> Splits:
    texts = names.texts if names.texts is not None else request.data if isinstance(request.data, Texts) else None
    tensors = names.tensors if names.tensors is not None else request.data if texts is None else None
    what = Path(request.data).name if names.tensors is not None else "data"
    if texts is None and tensors is None and loaded.default_tensors is not None:
        tensors, what = loaded.default_tensors(), f"the data that came with {request.model_name}"
    if tensors is not None:
        return splits_of_tensors(tensors, loaded.model, seed=request.seed, what=what)
    if texts is None and loaded.default_texts is not None:
        texts = loaded.default_texts()
    if texts is None and loaded.encode is not None:
        texts = python_topics()
        notes.append("no data given: English text from Python's own documentation; give --data for your own")
    if texts is None:
        raise DataError(
            f"model {request.model_name!r} comes without data: give tensors by input name, from Python or as "
            "--data FILE.safetensors."
        )
    if loaded.encode is None:
        raise DataError(
            f"model {request.model_name!r} has no tokenizer, so text cannot be encoded; give tensors as data "
            "(--data FILE.safetensors)."
        )
    labels, told = encode_labels(texts, loaded) if names.scored else ({}, ())
    notes += [*texts.notes, *told]
    return encode_texts(texts, loaded.encode, request.sequence, labels)


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
    return {name: tensor[index] for name, tensor in inputs_of(rows).items()}


def _on(device: str, group: Sequence[Mapping[str, Tensor]]) -> list[Batch]:
    return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in group]


def _all_rows(splits: Splits) -> dict[str, Tensor]:
    named = {"calibration": splits.calibration, "validation": splits.validation, "test": splits.test}
    return {f"{split}.{name}": tensor for split, rows in named.items() for name, tensor in rows.items()}
