"""What a stranger's config may ask for: no code, no kernels from elsewhere, and no more than its weights hold.

Checked by arithmetic, on the header of the weights, before anything is built; and by shape, before anything is filled.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.basics.schema import cause, short
from autocompress.errors import ArtifactError, AutocompressError

if TYPE_CHECKING:
    from torch import nn

Refusal = Callable[[str], AutocompressError]
"""The error of what is refused, from what is wrong with it: artifacts and checkpoints have remedies of their own."""
Header = Mapping[str, tuple[int, ...]]
"""Tensor name to shape."""

ATTENTION = (None, "eager", "sdpa")
EXPERTS = (None, "eager", "batched_mm", "grouped_mm")
"""Implementations that come with torch and Transformers; a name of any other form is fetched from a hub and run."""
CODE = ("auto_map", "configuration_files", "custom_generate", "custom_pipelines", "transformers_weights")
"""Keys by which a config sends Transformers to code, or to files that are not in the manifest."""
LARGEST = 1 << 31
SLACK = 1000
"""Modules that a model may have beyond the tensors in its file: activations, containers, what was pruned away."""
_COUNT = re.compile(r"(num|n)_(\w+_)?(layer|block)s?|\w+_(layers|blocks)|depths?")


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file; no tensor is read. Raises ArtifactError when it is damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors has one error class per fault, none of them public in all versions
        raise ArtifactError(
            f"cannot read {str(path)!r} as safetensors: {cause(error)}; export the artifact again."
        ) from error


def damaged(what: str) -> ArtifactError:
    """The refusal of an artifact."""
    return ArtifactError(f"{what}; export the artifact again.")


def most_modules(header: Header, layers: int = 0) -> int:
    """Modules that a model of these tensors may have; ``layers`` that a policy changes may have lost many."""
    return SLACK + 8 * len(header) + 64 * layers


def check_config(config: Any, where: str, header: Header, layers: int) -> None:
    """Raise ArtifactError for a config that asks for code, for foreign kernels, or for more than the file holds."""
    if not isinstance(config, dict):
        raise damaged(f"{where}: expected an object")
    for key, value in _entries(config):
        if key in CODE and value:
            raise ArtifactError(
                f"{where}: {key} is {short(value)}, which leads to code or files that no hash covers: an artifact is "
                "loaded without; do not use it."
            )
        _check_kernels(key, value, where)
    check_numbers(config, where, header, layers)


def check_numbers(
    config: Mapping[str, Any], where: str, header: Header, layers: int = 0, refusal: Refusal = damaged
) -> None:
    """Refuse a config with more layers, or larger sizes, than tensors of these shapes could be for."""
    widest = max((size for shape in header.values() for size in shape), default=0)
    for key, value in _entries(config):
        numbers = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int]
        for number in numbers:
            most = SLACK + len(header) + 8 * layers if _COUNT.fullmatch(key) else LARGEST
            most = widest if key == "num_labels" else most
            if abs(number) > most:
                raise refusal(
                    f"{where}: {key} is {number}, but its weights are {len(header)} tensors, none longer than "
                    f"{widest}: expected at most {most}"
                )


def _check_kernels(key: str, value: Any, where: str) -> None:
    for name, known in (("attn_implementation", ATTENTION), ("experts_implementation", EXPERTS)):
        if key.removeprefix("_").removesuffix("_internal") != name:
            continue
        for one in value.values() if isinstance(value, dict) else [value]:
            if one not in known:
                expected = ", ".join(map(str, known[1:]))
                raise ArtifactError(f"{where}: {key} is {short(one)}: expected one of {expected}.")


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key of a config and of those inside it; our own section has a check of its own."""
    waiting: list[Any] = [config]
    while waiting:
        for key, value in waiting.pop().items():
            if key == "quantization_config":
                continue
            yield key, value
            waiting += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


@contextmanager
def bounded_build(where: str, most: int, refusal: Refusal = damaged) -> Iterator[None]:
    """While it lasts, this thread registers at most so many modules; more are refused."""
    from torch.nn.modules.module import register_module_module_registration_hook

    built, thread = 0, threading.get_ident()

    def count(_module: nn.Module, _name: str, _child: nn.Module) -> None:
        nonlocal built
        built += threading.get_ident() == thread
        if built > most:
            raise refusal(f"{where}: its config builds more than {most} modules, far more than its weights are for")

    handle = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def check_shapes(model: nn.Module, header: Header, tied: Mapping[str, str], where: str) -> None:
    """Raise ArtifactError when a tensor of the model has another shape in the file; `complain` compares the names."""
    for name, tensor in model.state_dict().items():
        shape = header.get(name, header.get(tied.get(name, "")))
        if shape is not None and shape != tuple(tensor.shape):
            raise ArtifactError(
                f"{where}: tensor {name!r} has shape {list(shape)}, its config and policy expect {list(tensor.shape)}; "
                "export the artifact again."
            )


def check_amount(model: nn.Module, header: Header, where: str, refusal: Refusal = damaged) -> None:
    """Refuse a model that is far larger than the weights that are to fill it."""
    held = sum(prod(shape) for shape in header.values())
    wanted = sum(tensor.numel() for tensor in model.state_dict().values())
    if wanted > 4 * held + (1 << 26):
        raise refusal(f"{where}: its config builds {wanted} numbers, its weights hold {held}")
