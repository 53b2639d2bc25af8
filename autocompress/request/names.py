"""What can be refused before anything is loaded: names, values, files. Imports neither torch nor a model's library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.basics.matching import unknown
from autocompress.contracts.evaluator import inputs_of
from autocompress.contracts.model import Texts
from autocompress.contracts.runtime import Runtime
from autocompress.core.objective import Budget, Objective
from autocompress.core.target import Target
from autocompress.data import Columns, read_tensors, read_texts
from autocompress.data.file import NO_LABELS
from autocompress.data.tensors import SUFFIX
from autocompress.errors import UsageError
from autocompress.measure.machine import detect_target
from autocompress.plugin.registry import Registry, load_registry, missing
from autocompress.request.request import SearchRequest
from autocompress.space.binding import SearchSpace
from autocompress.space.file import load_space

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Names:
    """What can be checked before anything is loaded; ``scored``: whether models will be scored, so labels matter."""

    registry: Registry
    runtime: Runtime
    budgets: tuple[Budget, ...]
    objectives: tuple[Objective, ...]
    space: SearchSpace | None
    texts: Texts | None
    tensors: Mapping[str, Tensor] | None
    scored: bool
    target: Target


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
    texts, tensors = _read(request, scored=budgets)
    target = detect_target(request.device, request.runtime, request.batch, request.sequence, request.threads)
    reason = runtime.unavailable(target)
    if reason:
        raise UsageError(f"runtime {runtime.name!r} cannot run on {target.device}: {reason}")
    return Names(registry, runtime, parsed, objectives, space, texts, tensors, budgets, target)


def _read(request: SearchRequest, *, scored: bool) -> tuple[Texts | None, Mapping[str, Tensor] | None]:
    """The data file as texts or as tensors, if there is one. Labels are read where something will be scored."""
    if not isinstance(request.data, str | Path):
        return None, None
    path = Path(request.data)
    columns = Columns(request.column, request.labels if scored else NO_LABELS, request.group)
    if path.suffix.lower() != SUFFIX:
        return read_texts(path, columns, seed=request.seed), None
    columns.refuse(path)
    tensors = read_tensors(path)
    return None, tensors if scored else inputs_of(tensors)
