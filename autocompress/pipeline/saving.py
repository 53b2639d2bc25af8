"""A policy on disk: compressed afresh from the dense weights, saved as an artifact, loaded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from autocompress.artifact import Artifact, load, save
from autocompress.compress import StatisticsStore, apply_policy
from autocompress.contracts.runtime import Program, closing
from autocompress.core.policy import Policy
from autocompress.errors import TrialError, cause_of
from autocompress.pipeline.baseline import origin
from autocompress.plugin.registry import Registry
from autocompress.request.setup import Setup, base_of
from autocompress.structure import call


def named(policy: Policy, registry: Registry) -> Policy:
    """The policy with the distribution of every technique that it needs."""
    return replace(policy, origin={name: registry.distribution("techniques", name) for name in policy.techniques()})


def compressed(setup: Setup, policy: Policy, statistics: StatisticsStore) -> tuple[nn.Module, Program]:
    """A compressed copy of the model, which ran once, and its program. Raises TrialError: not built, or does not run.

    The module is called, not its program: what a model keeps of a call must not be of inference mode.
    """
    model = apply_policy(setup.model, policy, setup.layers, setup.registry, statistics)
    try:
        with torch.no_grad():
            call(model, setup.example)
    except (Exception, SystemExit) as error:  # the model's own code on a stranger's modules may raise anything
        raise TrialError(f"the compressed model does not run ({cause_of(error)})") from error
    return model, setup.lower(model, policy)


def save_policy(setup: Setup, policy: Policy, statistics: StatisticsStore, folder: Path) -> Artifact:
    """The artifact of a policy in ``folder``. Raises as `compressed`, and RunError when it cannot be written."""
    model, program = compressed(setup, policy, statistics)
    with closing(program):
        path = save(
            folder,
            model,
            policy,
            setup.layers,
            target=setup.target,
            registry=setup.registry,
            record=origin(setup),
            program=program,
            processor=setup.loaded.processor,
            example=setup.example,
        )
    return load(path, base=base_of(setup), device=setup.target.device, registry=setup.registry)
