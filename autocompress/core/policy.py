"""A policy: for every layer that is changed, the steps that change it. Plain data, JSON in and out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocompress.basics.schema import read_json, short
from autocompress.core.domain import Value
from autocompress.errors import PolicyError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Step:
    """One technique with its resolved parameters: ``Step("ffn-neurons", {"keep": 0.75})``."""

    technique: str
    params: Mapping[str, Value] = field(default_factory=dict)

    def label(self) -> str:
        values = ",".join(f"{key}={value}" for key, value in sorted(self.params.items()))
        return f"{self.technique}({values})" if values else self.technique


@dataclass(frozen=True)
class LayerPolicy:
    """The steps of one layer, in the order of their stages. No steps: the layer is left alone."""

    steps: tuple[Step, ...] = ()

    def label(self) -> str:
        return " + ".join(step.label() for step in self.steps) or "dense"


@dataclass(frozen=True)
class Policy:
    """Layer names to layer policies; layers that are not named stay dense.

    origin   technique name to the distribution that pip installs it from, where it is known; no part of the policy.

    >>> policy = Policy({"encoder.layer.0.output.dense": LayerPolicy((Step("int8"),))})
    >>> Policy.from_json(policy.to_json()) == policy
    True
    """

    layers: Mapping[str, LayerPolicy] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; layers sorted by name, so that equal policies give equal text."""
        return {
            "format_version": FORMAT_VERSION,
            "layers": {
                fqn: [
                    {"technique": step.technique, "params": dict(sorted(step.params.items()))} for step in layer.steps
                ]
                for fqn, layer in sorted(self.layers.items())
                if layer.steps
            },
        }

    @classmethod
    def from_json(cls, data: Any, *, where: str = "policy") -> Policy:
        """The policy that ``to_json`` wrote. Raises PolicyError naming the first thing that is off."""
        if not isinstance(data, dict) or not isinstance(data.get("layers"), dict):
            raise PolicyError(f"{where}: expected an object with 'format_version' and 'layers'.")
        strangers = sorted(set(map(str, data)) - {"format_version", "layers", "origin"})
        if strangers:
            raise PolicyError(f"{where}: unknown key {strangers[0]!r}; expected 'format_version' and 'layers'.")
        if type(data.get("format_version")) is not int or data["format_version"] != FORMAT_VERSION:
            raise PolicyError(
                f"{where}: format_version {short(data.get('format_version'))} is not known; expected {FORMAT_VERSION}."
            )
        layers = {fqn: _layer_policy(steps, f"{where}: layer {fqn!r}") for fqn, steps in data["layers"].items()}
        origin = data.get("origin", {})
        if not isinstance(origin, dict) or not all(isinstance(one, str) for one in origin.values()):
            raise PolicyError(f"{where}: 'origin' must be technique names with the distributions that they come from.")
        return cls(layers, origin)

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file. Raises PolicyError when it is missing, not JSON, or not a policy."""
        file = Path(path)
        data = read_json(file, PolicyError, expected="a JSON policy file", remedy="expected a JSON policy file.")
        return cls.from_json(data, where=str(file))

    def save(self, path: str | Path) -> None:
        """Write the policy as indented JSON."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The policy as a file holds it: JSON, with where its techniques come from."""
        origin = {name: self.origin[name] for name in self.techniques() if self.origin.get(name)}
        return json.dumps(self.to_json() | ({"origin": origin} if origin else {}), indent=1) + "\n"

    def digest(self) -> str:
        """Twelve hex digits that name this policy by content."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    def techniques(self) -> tuple[str, ...]:
        """The names of all techniques that this policy uses, sorted."""
        return tuple(sorted({step.technique for layer in self.layers.values() for step in layer.steps}))


def _layer_policy(steps: Any, where: str) -> LayerPolicy:
    if not isinstance(steps, list):
        raise PolicyError(f"{where}: expected a list of steps, got {type(steps).__name__}.")
    parsed = []
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("technique"), str):
            raise PolicyError(f"{where}: each step needs a 'technique' name and optional 'params'; got {short(step)}.")
        params = step.get("params", {})
        strangers = sorted(set(step) - {"technique", "params"})
        if strangers:
            raise PolicyError(f"{where}: unknown key {strangers[0]!r}; expected 'technique' and 'params'.")
        if not isinstance(params, dict) or not all(map(_is_value, params.values())):
            raise PolicyError(
                f"{where}: the params of {step['technique']!r} must be finite numbers, strings or booleans."
            )
        parsed.append(Step(step["technique"], params))
    return LayerPolicy(tuple(parsed))


def _is_value(value: Any) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
