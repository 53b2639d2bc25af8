"""Search compression policies for a PyTorch model under a budget that is verified on your device.

Importing this package imports neither torch nor transformers. It lets `AutoModel.from_pretrained` read artifacts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autocompress.artifact.import_hook import install as _install

if TYPE_CHECKING:
    from autocompress.api import apply, load, search
    from autocompress.artifact import Artifact
    from autocompress.domain import Choice, FloatRange, IntRange
    from autocompress.errors import AutocompressError, TrialError, UsageError
    from autocompress.evaluator import Evaluator, Score
    from autocompress.hookspecs import hookimpl
    from autocompress.layer import Layer
    from autocompress.objective import Budget, Objective
    from autocompress.policy import LayerPolicy, Policy, Step
    from autocompress.run.result import SearchResult
    from autocompress.runtime import Runtime
    from autocompress.target import Target
    from autocompress.technique import Group, Replacement, Stage, Statistics, Technique

__version__ = "0.1.0"

_HOME = {
    "Artifact": "artifact",
    "AutocompressError": "errors",
    "Budget": "objective",
    "Choice": "domain",
    "Evaluator": "evaluator",
    "FloatRange": "domain",
    "Group": "technique",
    "IntRange": "domain",
    "Layer": "layer",
    "LayerPolicy": "policy",
    "Objective": "objective",
    "Policy": "policy",
    "Replacement": "technique",
    "Runtime": "runtime",
    "Score": "evaluator",
    "SearchResult": "run.result",
    "Stage": "technique",
    "Statistics": "technique",
    "Step": "policy",
    "Target": "target",
    "Technique": "technique",
    "TrialError": "errors",
    "UsageError": "errors",
    "apply": "api",
    "hookimpl": "hookspecs",
    "load": "api",
    "search": "api",
}
__all__ = [
    "Artifact",
    "AutocompressError",
    "Budget",
    "Choice",
    "Evaluator",
    "FloatRange",
    "Group",
    "IntRange",
    "Layer",
    "LayerPolicy",
    "Objective",
    "Policy",
    "Replacement",
    "Runtime",
    "Score",
    "SearchResult",
    "Stage",
    "Statistics",
    "Step",
    "Target",
    "Technique",
    "TrialError",
    "UsageError",
    "__version__",
    "apply",
    "hookimpl",
    "load",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'autocompress' has no attribute {name!r}")
    return getattr(import_module(f"autocompress.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


_install()
