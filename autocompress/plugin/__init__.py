"""The door for plugin authors: the contracts, the data that goes through them, and what built-in plugins work with.

Everything is imported on demand, so that registering a plugin brings in neither torch nor transformers. Contract tests
for what a plugin provides are in `autocompress.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.artifact.limits import bounded_build, check_amount, check_numbers, most_modules, read_header
    from autocompress.basics.matching import near_misses, unknown
    from autocompress.basics.schema import cause, read_json, shaped, short
    from autocompress.contracts.evaluator import Batch, Evaluator, Run, Score, inputs_of
    from autocompress.contracts.linears import bias_of, empty_linear, is_linear, make_linear, weight_of
    from autocompress.contracts.model import LoadedModel
    from autocompress.contracts.precision import Precision, Quantized, QuantizedLinear
    from autocompress.contracts.runtime import Program, Runtime
    from autocompress.contracts.technique import Calibration, Group, Replacement, Stage, Statistics, Technique
    from autocompress.core.domain import Choice, Domain, FloatRange, IntRange, Value
    from autocompress.core.layer import Layer
    from autocompress.core.objective import Budget, Objective
    from autocompress.core.policy import LayerPolicy, Policy, Step
    from autocompress.core.target import Target
    from autocompress.data import python_topics
    from autocompress.errors import AutocompressError, DataError, ModelError, TrialError, UsageError
    from autocompress.loading.inputs import example_inputs, has_two_towers, text_encoder
    from autocompress.loading.pretrained import has_pooler_option, load_tokenizer, load_weights, quiet
    from autocompress.measure.isa import usable_flags
    from autocompress.plugin.hooks import PROJECT, hookimpl
    from autocompress.structure.modules import installed
    from autocompress.structure.nested import float_tensors, tensors

_HOME = {
    "AutocompressError": "autocompress.errors",
    "Batch": "autocompress.contracts.evaluator",
    "Budget": "autocompress.core.objective",
    "Calibration": "autocompress.contracts.technique",
    "Choice": "autocompress.core.domain",
    "DataError": "autocompress.errors",
    "Domain": "autocompress.core.domain",
    "Evaluator": "autocompress.contracts.evaluator",
    "FloatRange": "autocompress.core.domain",
    "Group": "autocompress.contracts.technique",
    "IntRange": "autocompress.core.domain",
    "Layer": "autocompress.core.layer",
    "LayerPolicy": "autocompress.core.policy",
    "LoadedModel": "autocompress.contracts.model",
    "ModelError": "autocompress.errors",
    "Objective": "autocompress.core.objective",
    "PROJECT": "autocompress.plugin.hooks",
    "Policy": "autocompress.core.policy",
    "Precision": "autocompress.contracts.precision",
    "Program": "autocompress.contracts.runtime",
    "Quantized": "autocompress.contracts.precision",
    "QuantizedLinear": "autocompress.contracts.precision",
    "Replacement": "autocompress.contracts.technique",
    "Run": "autocompress.contracts.evaluator",
    "Runtime": "autocompress.contracts.runtime",
    "Score": "autocompress.contracts.evaluator",
    "Stage": "autocompress.contracts.technique",
    "Statistics": "autocompress.contracts.technique",
    "Step": "autocompress.core.policy",
    "Target": "autocompress.core.target",
    "Technique": "autocompress.contracts.technique",
    "TrialError": "autocompress.errors",
    "UsageError": "autocompress.errors",
    "Value": "autocompress.core.domain",
    "bias_of": "autocompress.contracts.linears",
    "bounded_build": "autocompress.artifact.limits",
    "cause": "autocompress.basics.schema",
    "check_amount": "autocompress.artifact.limits",
    "check_numbers": "autocompress.artifact.limits",
    "empty_linear": "autocompress.contracts.linears",
    "example_inputs": "autocompress.loading.inputs",
    "float_tensors": "autocompress.structure.nested",
    "has_pooler_option": "autocompress.loading.pretrained",
    "has_two_towers": "autocompress.loading.inputs",
    "hookimpl": "autocompress.plugin.hooks",
    "inputs_of": "autocompress.contracts.evaluator",
    "installed": "autocompress.structure.modules",
    "is_linear": "autocompress.contracts.linears",
    "load_tokenizer": "autocompress.loading.pretrained",
    "load_weights": "autocompress.loading.pretrained",
    "make_linear": "autocompress.contracts.linears",
    "most_modules": "autocompress.artifact.limits",
    "near_misses": "autocompress.basics.matching",
    "python_topics": "autocompress.data",
    "quiet": "autocompress.loading.pretrained",
    "read_header": "autocompress.artifact.limits",
    "read_json": "autocompress.basics.schema",
    "shaped": "autocompress.basics.schema",
    "short": "autocompress.basics.schema",
    "tensors": "autocompress.structure.nested",
    "text_encoder": "autocompress.loading.inputs",
    "unknown": "autocompress.basics.matching",
    "usable_flags": "autocompress.measure.isa",
    "weight_of": "autocompress.contracts.linears",
}
__all__ = [
    "PROJECT",
    "AutocompressError",
    "Batch",
    "Budget",
    "Calibration",
    "Choice",
    "DataError",
    "Domain",
    "Evaluator",
    "FloatRange",
    "Group",
    "IntRange",
    "Layer",
    "LayerPolicy",
    "LoadedModel",
    "ModelError",
    "Objective",
    "Policy",
    "Precision",
    "Program",
    "Quantized",
    "QuantizedLinear",
    "Replacement",
    "Run",
    "Runtime",
    "Score",
    "Stage",
    "Statistics",
    "Step",
    "Target",
    "Technique",
    "TrialError",
    "UsageError",
    "Value",
    "bias_of",
    "bounded_build",
    "cause",
    "check_amount",
    "check_numbers",
    "empty_linear",
    "example_inputs",
    "float_tensors",
    "has_pooler_option",
    "has_two_towers",
    "hookimpl",
    "inputs_of",
    "installed",
    "is_linear",
    "load_tokenizer",
    "load_weights",
    "make_linear",
    "most_modules",
    "near_misses",
    "python_topics",
    "quiet",
    "read_header",
    "read_json",
    "shaped",
    "short",
    "tensors",
    "text_encoder",
    "unknown",
    "usable_flags",
    "weight_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'autocompress.plugin' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
