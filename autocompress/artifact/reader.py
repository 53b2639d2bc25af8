"""Load an artifact: verify every byte, rebuild the structure, put the weights in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifact import manifest as names
from autocompress.artifact.folder import inside
from autocompress.artifact.manifest import Manifest, read_manifest, size, verify
from autocompress.artifact.needs import check_needs
from autocompress.basics.atomic import new_folder
from autocompress.basics.process_state import clean_state
from autocompress.basics.schema import cause, read_json, shaped
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.errors import ArtifactError
from autocompress.plugin.registry import Registry, load_registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autocompress.contracts.runtime import Program, Runtime


@dataclass(frozen=True)
class Artifact:
    """A compressed model from disk.

    model      the module, in evaluation mode (built on first use where its runtime runs without it).
    policy     what was done to it.
    manifest   versions, target, measurements, how to load the dense model.
    program    what was timed: the model lowered by its runtime (on first use).
    """

    path: Path
    build: Callable[[], nn.Module] = field(repr=False)
    policy: Policy
    manifest: Manifest
    layers: tuple[Layer, ...] = ()
    registry: Registry = field(default_factory=load_registry, repr=False)

    @cached_property
    def model(self) -> nn.Module:
        return self.build()

    @property
    def runtime(self) -> Runtime:
        return self.registry.runtime(self.manifest.runtime)

    @property
    def target(self) -> Target:
        return self.manifest.target

    @property
    def folder(self) -> Path:
        return self.path

    @property
    def size(self) -> int:
        """Bytes of the weights on disk."""
        return size(self.path, self.manifest)

    @cached_property
    def program(self) -> Program:
        return self.program_on(self.target)

    def program_on(self, target: Target) -> Program:
        """The same for a target of its runtime and device with other threads, say."""
        return self.runtime.load(lambda: self.model, self.path, target=target)

    def example(self, target: Target | None = None) -> dict[str, Tensor] | None:
        """The inputs that were saved with it, at the batch and sequence of a target (its own), or None."""
        from autocompress.artifact.tensors import fit_inputs, read_tensors

        if names.EXAMPLE not in self.manifest.files:
            return None
        return fit_inputs(read_tensors(self.path / names.EXAMPLE), self.target, target or self.target)

    def save(self, path: str | Path) -> Path:
        """Copy the artifact, verified, to a new or empty folder; it appears whole or not at all.

        Raises ArtifactError when a file was changed since, RunError when the folder cannot be written.
        """
        verify(self.path, self.manifest)
        with new_folder(Path(path), marker=names.MANIFEST) as temporary:
            shutil.copytree(self.path, temporary, dirs_exist_ok=True)
        return Path(path)

    def __call__(self, inputs: Mapping[str, Tensor] | None = None, /, **named: Tensor) -> Any:
        """Run the program on inputs by name, given as one mapping or as keywords."""
        return self.program({**(inputs or {}), **named})


def load(
    path: str | Path,
    *,
    base: nn.Module | Callable[[], nn.Module] | None = None,
    device: str = "cpu",
    registry: Registry | None = None,
) -> Artifact:
    """Load what a search saved. Every file's hash is checked first.

    base   the dense module, or a function that builds it: needed for a model that is not one of Transformers' own.
    Raises ArtifactError: a changed or missing file, a newer format, a missing technique, weights that do not fit.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    verify(folder, manifest)
    registry = registry or load_registry()
    check_needs(manifest, registry, where=str(folder))
    policy = Policy.load(inside(folder, names.POLICY))
    layers = read_layers(folder)

    def build() -> nn.Module:
        with clean_state():
            if manifest.kind == "transformers":
                from autocompress.artifact.transformers_loader import from_pretrained

                model = from_pretrained(folder, manifest.architecture, registry, (policy, layers))
            else:
                model = _from_base(folder, manifest, _dense(base, manifest, folder), (policy, layers), registry)
            _own_(model)
            return model.eval().to(device)

    artifact = Artifact(folder, build, policy, manifest, layers, registry)
    if artifact.runtime.needs_torch:
        _ = artifact.model  # what does not fit is told now
    return artifact


def _own_(model: nn.Module) -> None:
    """Copy each tensor out of the mapped file: while one of them is in it, all of its pages stay in memory."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    copies = {id(buffer): buffer.detach().clone() for buffer in model.buffers()}  # `.data` would keep a view's base
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = copies[id(buffer)]


def read_layers(folder: Path) -> tuple[Layer, ...]:
    """The layers that the policy names, as they were in the dense model."""
    path = folder / names.LAYERS
    data = read_json(path, ArtifactError, expected="the layers of an artifact", remedy=names.REMEDY)
    return shaped(tuple[Layer, ...], data, str(path), ArtifactError, remedy=names.REMEDY)


def _dense(base: Any, manifest: Manifest, folder: Path) -> nn.Module:
    from torch import nn

    if base is None:
        raise ArtifactError(
            f"{str(folder)!r} was compressed from a Python module ({manifest.architecture}): "
            "give it, or a function that builds it, as load(path, base=...)."
        )
    model = base if isinstance(base, nn.Module) else base()
    if not isinstance(model, nn.Module):
        raise ArtifactError(f"base gave a {type(model).__name__}: expected a torch.nn.Module.")
    if type(model).__name__ != manifest.architecture:
        raise ArtifactError(
            f"{str(folder)!r} was compressed from a {manifest.architecture}, base is a {type(model).__name__}."
        )
    return model


def _from_base(
    folder: Path, manifest: Manifest, base: nn.Module, plan: tuple[Policy, tuple[Layer, ...]], registry: Registry
) -> nn.Module:
    from autocompress.artifact.tensors import load_state_, read_tensors, skeleton
    from autocompress.compress import build_policy_

    model = skeleton(base)
    try:
        build_policy_(model, *plan, registry)
        load_state_(model, read_tensors(folder / names.WEIGHTS), manifest.aliases)
    except ArtifactError:
        raise
    except Exception as error:  # what a stranger's layers and values make of modules and techniques may raise anything
        raise ArtifactError(
            f"{str(folder)!r} does not fit the model that was given ({type(error).__name__}: {cause(error)}); "
            "give the dense model that it was compressed from."
        ) from error
    return model
