"""A policy on disk: compressed afresh from the dense weights, saved as an artifact, loaded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autocompress.artifact import Artifact, load, save
from autocompress.compress import StatisticsStore, apply_policy
from autocompress.plugins import Registry
from autocompress.policy import Policy
from autocompress.run.baseline import origin
from autocompress.run.setup import Setup, base_of


def named(policy: Policy, registry: Registry) -> Policy:
    """The policy with the distribution of every technique that it needs."""
    return replace(policy, origin={name: registry.distribution("techniques", name) for name in policy.techniques()})


def save_policy(setup: Setup, policy: Policy, statistics: StatisticsStore, folder: Path) -> Artifact:
    """The artifact of a policy in ``folder``. Raises TrialError when it cannot be built, RunError when not written."""
    model = apply_policy(setup.model, policy, setup.layers, setup.registry, statistics)
    path = save(
        folder,
        model,
        policy,
        setup.layers,
        target=setup.target,
        registry=setup.registry,
        record=origin(setup),
        program=setup.names.runtime.lower(model, policy, setup.example),
        processor=setup.loaded.processor,
        example=setup.example,
    )
    return load(path, base=base_of(setup), device=setup.target.device, registry=setup.registry)
