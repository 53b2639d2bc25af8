"""Write a compressed model as a folder that loads anywhere: weights, config, tokenizer, policy, manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifact import manifest as names
from autocompress.artifact.limits import ATTENTION, CODE
from autocompress.artifact.manifest import Manifest, Record, hash_files, write_manifest
from autocompress.artifact.section import METHOD
from autocompress.basics.atomic import new_folder
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.measure.machine import versions
from autocompress.plugin.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autocompress.contracts.runtime import Program


def save(
    folder: str | Path,
    model: nn.Module,
    policy: Policy,
    layers: Sequence[Layer],
    *,
    target: Target,
    registry: Registry,
    record: Record | None = None,
    program: Program | None = None,
    processor: Any = None,
    example: Mapping[str, Tensor] | None = None,
) -> Path:
    """Save a compressed model; the folder appears whole or not at all, and holds no pickle.

    model      the compressed module, as `compress.apply_policy` returned it.
    layers     of the dense model; those that the policy names are kept, to rebuild the structure.
    program    what the runtime lowered, when it has files of its own to save.
    processor  a tokenizer or image processor with ``save_pretrained``.
    example    inputs by name at the target's batch and sequence, kept so that the artifact can be timed alone.
    Raises RunError when the folder cannot be written, ArtifactError when the state is not plain tensors.
    """
    from autocompress.artifact.tensors import split_state, write_tensors

    destination = Path(folder)
    used = [layer for layer in layers if layer.fqn in policy.layers]
    state, aliases = split_state(model)
    kind = "transformers" if is_transformers(model) else "module"
    techniques = {name: registry.distribution("techniques", name) for name in policy.techniques()}
    with new_folder(destination, marker=names.MANIFEST) as temporary:
        write_tensors(state, temporary / names.WEIGHTS)
        if program is not None:
            registry.runtime(target.runtime).save(program, temporary)
        # What runs counts once: a runtime's own files stand for the torch weights, which stay for `from_pretrained`.
        written = (path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        weights = tuple(sorted(set(written) - {names.WEIGHTS})) or (names.WEIGHTS,)
        if kind == "transformers":
            complete = _complete(model)
            section = quantization_config(model, policy, used, techniques, aliases)
            section["absent"] = _absent(model, complete)
            _write_config(model, section, temporary)
            write_tensors(_hidden_buffers(model, complete), temporary / names.BUFFERS)
        _write_json([layer.to_json() for layer in used], temporary / names.LAYERS)
        replace(policy, origin=techniques).save(temporary / names.POLICY)
        if processor is not None and hasattr(processor, "save_pretrained"):
            processor.save_pretrained(temporary)
        if example is not None:
            write_tensors(example, temporary / names.EXAMPLE)
        manifest = Manifest(
            kind=kind,
            architecture=type(model).__name__,
            target=target,
            files=hash_files(temporary),
            weights=weights,
            techniques=techniques,
            aliases=aliases,
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            record=record or Record(),
            runtimes={target.runtime: registry.distribution("runtimes", target.runtime)},
        )
        write_manifest(temporary, manifest)
    return destination


def is_transformers(model: nn.Module) -> bool:
    """Whether Transformers itself can build this class from a config: then ``from_pretrained`` loads the artifact."""
    import transformers

    known = getattr(transformers, type(model).__name__, None)
    return known is type(model) and issubclass(known, transformers.PreTrainedModel)


def quantization_config(
    model: nn.Module,
    policy: Policy,
    layers: Sequence[Layer],
    techniques: Mapping[str, str],
    aliases: Mapping[str, str],
) -> dict[str, Any]:
    """The section of ``config.json`` from which ``from_pretrained`` rebuilds the structure.

    dtype    the model's main dtype; each tensor keeps its own whatever it says.
    """
    attention = getattr(model.config, "_attn_implementation", None)
    return {
        "quant_method": METHOD,
        "format_version": names.FORMAT_VERSION,
        "policy": policy.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "techniques": dict(techniques),
        "tied": dict(aliases),
        "architecture": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        # Others need libraries that the loading machine may lack.
        "attention": attention if attention in ATTENTION else None,
    }


def _complete(model: Any) -> nn.Module:
    """The module that the class builds from this config, on the meta device."""
    import torch

    with torch.device("meta"):
        complete = type(model)(deepcopy(model.config))
    assert isinstance(complete, torch.nn.Module)
    return complete


def _absent(model: nn.Module, complete: nn.Module) -> list[str]:
    """Submodules that the class builds but that this model was built without, such as a pooler."""
    found: list[str] = []
    for name, _ in complete.named_modules():
        parent, _, child = name.rpartition(".")
        # Inside what is absent itself, or inside what a technique replaced, there is no such place at all.
        with suppress(AttributeError):
            if name and getattr(model.get_submodule(parent), child) is None:
                found.append(name)
    return found


def _hidden_buffers(model: nn.Module, complete: nn.Module) -> dict[str, Tensor]:
    """Buffers of the model's own class that are not in its state (rotary frequencies): a cast may have changed them."""
    state = complete.state_dict()
    own = {name for name, _ in complete.named_buffers()} - set(state)
    return {name: buffer for name, buffer in model.named_buffers() if name in own}


def _write_config(model: Any, section: dict[str, Any], folder: Path) -> None:
    config = deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = section["dtype"]
    config.quantization_config = section
    for name in CODE:  # the class is one of Transformers' own: where else its code was once read from is of no use
        if hasattr(config, name):
            delattr(config, name)
    config.save_pretrained(folder)
    if model.can_generate() and getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(folder)


def _write_json(data: Any, path: Path) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
