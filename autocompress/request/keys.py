"""What stored values depend on, as digests: a value is used again only where all of it is the same."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import autocompress
from autocompress.plugin.registry import Registry
from autocompress.request.setup import Setup


@dataclass(frozen=True)
class Contexts:
    """Digests, each of all that the one before names and of more.

    kernels   the target without its input shape, the runtime's versions and options, and the code.
    model     the weights, the configuration and the timed input.
    quality   the data and the evaluator.
    trials    the user's own objectives.
    shared    those that mean the same in another search, with what they are about in words. A function that the user
              passed has no name that would tell it from another one: what depends on it is not shared.
    """

    kernels: str
    model: str
    quality: str
    trials: str
    shared: Mapping[str, str]


def contexts_of(setup: Setup) -> Contexts:
    """The contexts of a search."""
    target, request = setup.target, setup.request
    code = _code(setup.registry)
    runtime = dict(setup.names.runtime.key())
    kernels = digest([target.device, target.runtime, runtime, target.threads, dict(target.fingerprint), code])
    contents = setup.contents
    config: Any = getattr(setup.model, "config", None)
    described = config.to_json_string() if hasattr(config, "to_json_string") else ""
    shapes = {name: list(tensor.shape) for name, tensor in setup.example.items()}
    model = digest([kernels, contents["model"], str(setup.model), described, shapes])
    quality = digest([model, contents["data"], setup.evaluator.name, setup.evaluator.metric])
    custom = [objective.name for objective in setup.names.objectives]
    trials = digest([quality, "trials", custom])
    shared: dict[str, str] = {}
    if code:
        where = f"{target.device}, {target.runtime}, {target.threads} threads"
        shared[kernels] = f"kernels on {where}"
        shared[model] = f"{request.model_name} on {where}, batch {target.batch}, sequence {target.sequence}"
        if setup.evaluator is setup.registry.evaluators.get(setup.evaluator.name):
            words = f"{request.model_name}: {setup.evaluator.metric} on data {contents['data'][:6]}"
            shared[quality] = f"{words}, probes"
            if not custom:
                shared[trials] = f"{words}, trials"
    return Contexts(kernels, model, quality, trials, shared)


def digest(value: Any) -> str:
    """Sixteen hex digits of JSON-able data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _code(registry: Registry) -> str:
    """The source of core and of every plugin, or "" when there is a plugin without source (made in a session)."""
    found = hashlib.sha256()
    modules = {autocompress.__name__: autocompress, **_modules(registry.manager.get_plugins())}
    for _, module in sorted(modules.items()):
        file = getattr(module, "__file__", None)
        if file is None:
            return ""
        path = Path(file)
        for source in sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]:
            found.update(source.read_bytes())
    return found.hexdigest()


def _modules(plugins: Iterable[object]) -> dict[str, ModuleType]:
    """The top-level package of every plugin: a module, or an object of a class in one."""
    names = {
        (plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__).partition(".")[0]
        for plugin in plugins
    }
    return {name: sys.modules[name] for name in names}
