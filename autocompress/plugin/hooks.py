"""Every hook of autocompress. A plugin implements those that it needs and registers by the entry point group
``autocompress``; built-in techniques use nothing else.

Arguments are keyword-only by pluggy's rule: an implementation names those that it wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from autocompress.contracts.evaluator import Evaluator
    from autocompress.contracts.model import LoadedModel
    from autocompress.contracts.runtime import Runtime
    from autocompress.contracts.technique import Technique
    from autocompress.core.objective import Objective

PROJECT = "autocompress"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def autocompress_techniques() -> Iterable[Technique]:
    """The compression techniques of this plugin."""


@hookspec
def autocompress_runtimes() -> Iterable[Runtime]:
    """The runtimes of this plugin."""


@hookspec
def autocompress_evaluators() -> Iterable[Evaluator]:
    """The evaluators of this plugin."""


@hookspec
def autocompress_objectives() -> Iterable[Objective]:
    """Further objectives that a user may name in a budget."""


@hookspec
def autocompress_samplers() -> Mapping[str, Callable[[int, int], Any]]:
    """Name to a factory ``(seed, startup_trials) -> optuna sampler`` that proposes the search's knobs."""


@hookspec
def autocompress_search_spaces() -> Iterable[Path]:
    """Search-space files (``*.toml``); the file's stem is the space's name."""


@hookspec(firstresult=True)
def autocompress_load_model(
    source: str, task: str | None, trust_remote_code: bool, allow_pickle: bool
) -> LoadedModel | None:
    """Load ``source`` as a `LoadedModel`, or return None when it is not for this plugin.

    ``source`` is what the user typed; measuring processes and ``bench`` give a path as an absolute one. A model that
    does not run on text can bring rows to be searched on, and their labels: ``default_tensors``.

    Raises ModelError when it is for this plugin but cannot be loaded.
    """


@hookspec
def autocompress_trial_finished(trial: Any) -> None:
    """Called after every finished trial with the `autocompress.core.trial.Trial`."""
