"""What the contract tests compare: options of a domain, states of modules, copies through a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autocompress.contracts.technique import Replacement
from autocompress.core.domain import Domain, Value

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
Params = dict[str, Value]
Signature = dict[str, tuple[tuple[int, ...], torch.dtype]]


def options(domains: Mapping[str, Domain], *, most: int = 6) -> list[Params]:
    """Up to ``most`` combinations of parameter values, spread evenly over all of them, first and last included."""
    values = [domain.values() for domain in domains.values()]
    every = [dict(zip(domains, combination, strict=True)) for combination in product(*values)]
    if len(every) <= most:
        return every
    return [every[round(i * (len(every) - 1) / (most - 1))] for i in range(most)]


def distinct(replacement: Replacement) -> Iterator[tuple[str, nn.Module]]:
    """The replacement's modules, each once, under the first role that it plays."""
    seen: set[int] = set()
    for role, module in replacement.modules.items():
        if id(module) not in seen:
            seen.add(id(module))
            yield role, module


def state(replacement: Replacement) -> dict[str, Tensor]:
    """Every tensor of the replacement's state, as ``role.name``."""
    return {f"{role}.{name}": value for role, m in distinct(replacement) for name, value in m.state_dict().items()}


def signature(replacement: Replacement) -> Signature:
    """Name to shape and dtype of the replacement's state."""
    return {name: (tuple(value.shape), value.dtype) for name, value in state(replacement).items()}


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two states are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def through_file(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The tensors after a safetensors file; what shares memory or is not contiguous does not pass."""
    save_file(dict(tensors), file)
    loaded: dict[str, Tensor] = load_file(file)
    return loaded


def load_(replacement: Replacement, tensors: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load a state into the replacement's modules; every name must be there and none left over."""
    for role, module in distinct(replacement):
        own = {name.removeprefix(f"{role}."): v for name, v in tensors.items() if name.startswith(f"{role}.")}
        module.load_state_dict(own, strict=True, assign=assign)


def cosine(first: Tensor, second: Tensor) -> float:
    """The mean cosine between rows of two equally shaped outputs, each about its mean over rows."""
    a, b = (t.reshape(-1, t.shape[-1]).double() for t in (first, second))
    return float(torch.cosine_similarity(a - a.mean(0), b - b.mean(0), dim=-1).mean())
