"""A model's state as safetensors: shared storage once, every dtype as it is, no pickle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autocompress.basics.schema import cause
from autocompress.core.target import Target
from autocompress.errors import ArtifactError
from autocompress.structure.modules import loose

MOST_NUMBERS = 1 << 31
"""In one example input."""


def split_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state to save, and aliases: name left out to the name that holds the same tensor.

    Of names that share a tensor the one is kept that the model itself ties the others to.
    Raises ArtifactError on state that is not a plain tensor.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    state = model.state_dict()
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name in sorted(state, key=lambda one: one in tied):
        tensor = state[name]
        if not isinstance(tensor, Tensor) or tensor.is_quantized or tensor.layout != torch.strided:
            raise ArtifactError(
                f"cannot save {name!r} of {type(model).__name__}: expected a plain dense tensor in its state, "
                f"got {type(tensor).__name__}; the technique that made it must keep its state in such tensors."
            )
        owner = first.setdefault(_place(name, tensor), name)
        if owner == name:
            kept[name] = tensor
        else:
            aliases[name] = owner
    return dict(sorted(kept.items())), dict(sorted(aliases.items()))


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file; tensors that overlap in memory are written out one by one."""
    whole: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        pointer = plain.untyped_storage().data_ptr()
        whole[name] = plain.clone() if pointer in storages else plain
        storages.add(pointer)
    save_file(whole, path, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ArtifactError when it is not one."""
    try:
        return load_file(path)
    except Exception as error:  # safetensors has one error class per fault, none of them public in all versions
        raise ArtifactError(f"cannot read {str(path)!r} as safetensors: {cause(error)}") from error


def fit_inputs(inputs: Mapping[str, Tensor], saved: Target, wanted: Target) -> dict[str, Tensor]:
    """Inputs of one target at another's batch and sequence, rows and tokens repeated or cut (for timing only)."""
    fitted = {}
    for name, tensor in inputs.items():
        if tensor.ndim == 0 or not tensor.numel():
            raise ArtifactError(
                f"the example input {name!r} has no rows: expected (rows, ...); export the artifact again."
            )
        rest = tensor[0].numel() * max(1, wanted.sequence // max(1, saved.sequence))
        if wanted.batch * rest > MOST_NUMBERS:
            raise ArtifactError(
                f"the example input {name!r} of shape {list(tensor.shape)} cannot be brought to batch {wanted.batch}, "
                f"sequence {wanted.sequence}: more than {MOST_NUMBERS} numbers."
            )
        fitted[name] = _repeat(tensor, 0, wanted.batch)
        if tensor.ndim > 1 and tensor.shape[1] == saved.sequence:
            fitted[name] = _repeat(fitted[name], 1, wanted.sequence)
    return fitted


def alias_(model: nn.Module, aliases: Mapping[str, str]) -> None:
    """Let names share one tensor again, in place: alias to the name that holds the tensor."""
    for name, owner in aliases.items():
        source, _, attribute = owner.rpartition(".")
        tensor = getattr(model.get_submodule(source), attribute)
        target, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(target), attribute, tensor)


def skeleton(model: nn.Module) -> nn.Module:
    """A copy whose state is on the meta device: structure only, no second copy of the weights in memory.

    What is not in the state dict (buffers that are not persistent) keeps its values.
    """
    from copy import deepcopy

    memo: dict[int, object] = {id(tensor): tensor.detach() for tensor in loose(model)}
    for tensor in model.state_dict(keep_vars=True).values():
        if isinstance(tensor, Tensor) and id(tensor) not in memo:
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return deepcopy(model, memo)


def load_state_(model: nn.Module, state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Put a saved state into a skeleton, in place. Raises ArtifactError on names or shapes that do not fit."""
    try:
        missing, unexpected = model.load_state_dict(dict(state), strict=False, assign=True)
    except RuntimeError as error:
        raise ArtifactError(f"the weights do not fit the model: {cause(error)}") from error
    complain(set(missing) - set(aliases), unexpected)
    alias_(model, aliases)


def complain(missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raise ArtifactError when a tensor is missing or left over."""
    for what, names in (("has no", sorted(missing)), ("has unexpected", sorted(unexpected))):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ArtifactError(
                f"the artifact {what} tensor {names[0]!r}{more}: it was saved from another model, or by a technique "
                "of another version; install the versions in its autocompress.json."
            )


def _repeat(tensor: Tensor, dimension: int, size: int) -> Tensor:
    index = torch.arange(size) % tensor.shape[dimension]
    return tensor.index_select(dimension, index)


def _place(name: str, tensor: Tensor) -> tuple[object, ...]:
    if not tensor.numel() or tensor.device.type == "meta":
        return (name,)
    pointer = tensor.untyped_storage().data_ptr()
    return (pointer, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype, str(tensor.device))
