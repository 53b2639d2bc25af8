"""What every changed layer was predicted to save, and what it saves inside the model that came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from autocompress.contracts.runtime import closing
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.measure.layers import stopwatch
from autocompress.measure.lock import device_lock
from autocompress.pipeline.plan import Plan
from autocompress.request.setup import Setup

ROUNDS = 15


@dataclass(frozen=True)
class LayerSaving:
    """One decision of a policy, in seconds of a call of the whole model.

    dense       what its modules take in the dense model.
    predicted   what the tables say that the option saves.
    measured    what it saves where it stands; None when the runtime does not run the model's own modules.
    damage      predicted loss of quality.
    """

    layer: str
    option: str
    dense: float | None
    predicted: float
    measured: float | None
    damage: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def layer_savings(setup: Setup, plan: Plan, policy: Policy) -> tuple[LayerSaving, ...]:
    """Every unit that the policy changes, in the order of execution; dense and compressed model are run in turns."""
    modules: dict[str, list[str]] = {}
    chosen: dict[str, tuple[float, float, str]] = {}
    for unit, policies in zip(plan.table.units, plan.table.policies, strict=True):
        # The option that the policy takes of this unit: the dense one names its layers as well, without steps.
        own = {fqn: policy.layers.get(fqn, LayerPolicy()) for option in policies for fqn in option}
        taken = next((i for i, option in enumerate(policies) if all(option[fqn] == own[fqn] for fqn in option)), 0)
        if taken:
            saved = unit.options[0].costs["latency"] - unit.options[taken].costs["latency"]
            chosen[unit.name] = (saved, unit.options[taken].damage, unit.options[taken].label)
            modules[unit.name] = _timed([layer for layer in setup.layers if layer.fqn in own])
    dense, now = _seconds(setup, plan, policy, modules)
    return tuple(
        LayerSaving(
            name,
            label,
            dense.get(name),
            predicted,
            dense[name] - now[name] if name in dense and name in now else None,
            damage,
        )
        for name, (predicted, damage, label) in chosen.items()
    )


def _timed(layers: Sequence[Layer]) -> list[str]:
    """The modules whose time is that of the unit: the owner of an attention group, else the modules themselves."""
    owners = [layer.owner for layer in layers if layer.kind == "attention"]
    plain = [fqn for layer in layers if layer.kind != "block" for fqn in layer.modules]
    outside = [fqn for fqn in plain if not any(not owner or fqn.startswith(owner + ".") for owner in owners)]
    return list(dict.fromkeys([*owners, *outside]))


def _seconds(
    setup: Setup, plan: Plan, policy: Policy, modules: dict[str, list[str]]
) -> tuple[dict[str, float], dict[str, float]]:
    model = plan.bench.set(policy)
    device = setup.target.device
    dense = setup.program
    samples: list[tuple[dict[str, float], dict[str, float]]] = []
    with (
        closing(setup.lower(model, policy)) as compressed,
        device_lock(device),
        stopwatch(plan.bench.dense, modules, device) as of_dense,
        stopwatch(model, modules, device) as of_compressed,
    ):
        for _ in range(ROUNDS + 2):
            dense(setup.example)
            before = of_dense(lambda: dense(setup.example))
            compressed(setup.example)
            samples.append((before, of_compressed(lambda: compressed(setup.example))))
    plan.bench.set(Policy())
    kept = samples[2:]  # the first rounds warm up
    names = [name for name in modules if all(name in one for pair in kept for one in pair)]
    return (
        {name: median(before[name] for before, _ in kept) for name in names},
        {name: median(after[name] for _, after in kept) for name in names},
    )
