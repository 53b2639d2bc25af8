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
    from autocompress.contracts.evaluator import Evaluator, Score
    from autocompress.contracts.runtime import Runtime
    from autocompress.contracts.technique import Group, Replacement, Stage, Statistics, Technique
    from autocompress.core.domain import Choice, FloatRange, IntRange
    from autocompress.core.layer import Layer
    from autocompress.core.objective import Budget, Objective
    from autocompress.core.policy import LayerPolicy, Policy, Step
    from autocompress.core.target import Target
    from autocompress.errors import AutocompressError, TrialError, UsageError
    from autocompress.pipeline.result import SearchResult
    from autocompress.plugin.hooks import hookimpl

__version__ = "0.1.0"

_HOME = {
    "Artifact": "artifact",
    "AutocompressError": "errors",
    "Budget": "core.objective",
    "Choice": "core.domain",
    "Evaluator": "contracts.evaluator",
    "FloatRange": "core.domain",
    "Group": "contracts.technique",
    "IntRange": "core.domain",
    "Layer": "core.layer",
    "LayerPolicy": "core.policy",
    "Objective": "core.objective",
    "Policy": "core.policy",
    "Replacement": "contracts.technique",
    "Runtime": "contracts.runtime",
    "Score": "contracts.evaluator",
    "SearchResult": "pipeline.result",
    "Stage": "contracts.technique",
    "Statistics": "contracts.technique",
    "Step": "core.policy",
    "Target": "core.target",
    "Technique": "contracts.technique",
    "TrialError": "errors",
    "UsageError": "errors",
    "apply": "api",
    "hookimpl": "plugin.hooks",
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
