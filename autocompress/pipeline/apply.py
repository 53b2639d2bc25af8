"""A policy file on a model, without searching: the same compression, calibrated on the same kind of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autocompress.artifact.needs import check_policy_needs
from autocompress.compress import check_policy, collect_statistics
from autocompress.core.policy import Policy
from autocompress.core.progress import Event, Progress
from autocompress.errors import PolicyError, RunError, TrialError
from autocompress.pipeline.saving import compressed, save_policy
from autocompress.request.request import SearchRequest
from autocompress.request.setup import check_names, set_up


def run_apply(request: SearchRequest, policy: Policy, out: Path | None, progress: Progress) -> Any:
    """The saved artifact when ``out`` is given, else the compressed module.

    Raises PolicyError when the policy names layers or techniques that are not there, or values that they cannot take.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{str(out)!r} is not empty; give a new or empty folder as --out.")
    names = check_names(request, budgets=False)
    check_policy_needs(policy, names.registry)
    setup = set_up(request, names, progress)
    check_policy(policy, setup.layers, setup.registry)
    progress(Event("bind", message="collecting input statistics"))
    linears = [layer.fqn for layer in setup.layers if layer.kind == "linear"]
    statistics = collect_statistics(setup.model, linears, setup.rows["calibration"])
    progress(Event("emit", message="compressing"))
    try:
        if out is None:
            return compressed(setup, policy, statistics)[0]
        artifact = save_policy(setup, policy, statistics, out)
    except TrialError as error:  # in a search this point would fail; here it is all that was asked for
        raise PolicyError(f"the policy cannot be applied to this model: {error}") from error
    progress(Event("emit", 1, 1, f"wrote {out}"))
    return artifact
