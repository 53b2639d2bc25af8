"""The Python API: search, apply, load, bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from autocompress.artifact import Artifact, load
from autocompress.basics.process_state import clean_state, environment_set, modes_kept, without_inference
from autocompress.basics.units import parse_seconds
from autocompress.core.objective import Objective
from autocompress.core.policy import Policy
from autocompress.core.progress import Progress, silent
from autocompress.measure.machine import OPENMP
from autocompress.pipeline.result import SearchResult
from autocompress.plugin.registry import nobody_leaves
from autocompress.request.request import SearchRequest

__all__ = ["apply", "load", "search"]


def search(
    model: Any = "demo",
    budget: str | Sequence[str] = (),
    *,
    data: Any = None,
    objectives: Sequence[Objective] = (),
    evaluator: str | Callable[..., float] | Any | None = None,
    time: str | float | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> SearchResult:
    """Find the best compressed model that keeps the budget, and prove it in fresh processes.

    model       a Hugging Face folder or id, ``"demo"``, or a torch module.
    budget      ``"20ms"``, ``"70%"``, ``["20ms", "memory=300MB", "quality=0.98"]``.
    data        a text / csv / json file; or tensors by input name; or three of those: calibration, validation, test.
    objectives  further quantities to optimise; each may carry a budget.
    options     any other field of `SearchRequest`: space, task, runtime, device, batch, sequence, seed, trials, ...

    Returns the result; ``result.best`` is None when no policy keeps the budget. The same call with the same ``out``
    goes on where an interrupted one stopped. Raises UsageError for input that cannot be used.

    >>> import autocompress as ac
    >>> result = ac.search("demo", budget="75%", trials=20)        # doctest: +SKIP
    >>> result.best.model(**inputs)                                # doctest: +SKIP
    """
    from autocompress.request.names import check_names

    request = SearchRequest(
        model=model,
        budgets=(budget,) if isinstance(budget, str) else tuple(budget),
        data=data,
        objectives=tuple(objectives),
        evaluator=evaluator,
        seconds=parse_seconds(time) if isinstance(time, str) else time,
        out=None if out is None else Path(out),
        **options,
    )
    with nobody_leaves():
        names = check_names(request)  # what can be refused is refused before seconds of imports
        with _undisturbed(request) as ours:
            from autocompress.pipeline.search import run_search

            return run_search(ours, progress, names)


def apply(
    policy: Policy | str | Path,
    model: Any,
    *,
    out: str | Path | None = None,
    data: Any = None,
    progress: Progress = silent,
    **options: Any,
) -> Artifact | Any:
    """Rebuild a policy on a model of the same architecture, without searching.

    Returns the saved `Artifact` when ``out`` is given, else the compressed module. Calibration uses ``data``, or what
    comes with the model. Raises PolicyError when the policy names layers that the model does not have.
    """
    loaded = policy if isinstance(policy, Policy) else Policy.load(policy)
    request = SearchRequest(model=model, data=data, **options)
    with nobody_leaves(), _undisturbed(request) as ours:
        from autocompress.pipeline.apply import run_apply

        return run_apply(ours, loaded, None if out is None else Path(out), progress)


@contextmanager
def _undisturbed(request: SearchRequest) -> Iterator[SearchRequest]:
    """The request in a process whose global state is ours, and then the caller's again; its module's modes too."""
    with environment_set(OPENMP), clean_state(request.seed), modes_kept(request.model):
        yield replace(request, model=without_inference(request.model), data=without_inference(request.data))
