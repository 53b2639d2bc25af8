"""What an artifact or a policy needs to be installed, checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.artifact.manifest import Manifest
from autocompress.basics.matching import near_misses
from autocompress.core.policy import Policy
from autocompress.errors import ArtifactError, PolicyError, UsageError
from autocompress.plugin.registry import Registry


def check_needs(manifest: Manifest, registry: Registry, *, where: str, dense: bool = False) -> None:
    """Raise ArtifactError naming the first technique or runtime that is not installed, and what to install.

    dense   the dense model is needed too, so the plugin that loaded it is.
    """
    check_techniques(manifest.techniques, registry, where=where)
    runtimes = {manifest.runtime: "", **manifest.runtimes}
    _check("runtime", runtimes, registry.runtimes, where, ArtifactError)
    record = manifest.record
    if dense and manifest.kind == "module" and not record.source:
        raise ArtifactError(
            f"{where!r} was compressed from a Python module ({manifest.architecture}), which nothing here can build: "
            "measure it from Python, as bench(path, base=...)."
        )
    if dense and record.source and record.loader and record.loader not in registry.installed:
        raise ArtifactError(
            f"{where!r} is measured beside its dense model {record.source!r}, which was loaded by a plugin that is not "
            f"installed: pip install {record.loader}."
        )


def check_techniques(techniques: Mapping[str, str], registry: Registry, *, where: str) -> None:
    """Raise ArtifactError naming the first technique that is not installed, and what to install."""
    _check("technique", techniques, registry.techniques, where, ArtifactError)


def check_policy_needs(policy: Policy, registry: Registry) -> None:
    """Raise PolicyError naming the first technique of a policy that is not installed, and what to install."""
    named = {name: policy.origin.get(name, "") for name in policy.techniques()}
    _check("technique", named, registry.techniques, "the policy", PolicyError)


def _check(
    kind: str, needed: Mapping[str, str], known: Mapping[str, object], where: str, error: type[UsageError]
) -> None:
    for name, origin in needed.items():
        if name not in known:
            remedy = f"pip install {origin}" if origin else "install the package that registers it"
            shown = where if where == "the policy" else repr(where)
            close = near_misses(name, known, limit=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise error(f"{shown} needs {kind} {name!r}, which is not installed: {remedy}.{hint}")
