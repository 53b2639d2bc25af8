"""What the built-in plugins offer arrives through the hooks, and a stranger's arrives beside it."""

from __future__ import annotations

import optuna
from autocompress_torch import autocompress_runtimes
from autocompress_torch.eager import TorchRuntime

from autocompress.contracts.runtime import Runtime
from autocompress.core.target import Target
from autocompress.plugin.hooks import hookimpl
from autocompress.plugin.registry import load_registry


def test_built_in_techniques_runtimes_and_samplers_are_registered() -> None:
    registry = load_registry()
    names = {"attention-heads", "cast", "ffn-neurons", "int8", "int8-embedding", "svd"}
    assert names <= set(registry.techniques)
    assert {registry.origin[f"techniques:{name}"] for name in names} == {"autocompress"}
    assert [runtime.name for runtime in autocompress_runtimes()] == ["torch"]
    assert registry.runtime("torch").unavailable(Target()) == ""
    for name in ("tpe", "nsga2", "random"):
        assert isinstance(registry.samplers[name](0, 10), optuna.samplers.BaseSampler)


def test_a_strangers_runtime_stands_beside_the_built_in_one() -> None:
    class Other(TorchRuntime):
        """Eager, under another name."""

        name = "other"

    class Plugin:
        @hookimpl
        def autocompress_runtimes(self) -> list[Runtime]:
            return [Other()]

    registry = load_registry([Plugin()])
    assert {"other", "torch"} <= set(registry.runtimes)
    assert registry.origin["runtimes:other"] == "Plugin"
