"""Global settings of the process that a result could depend on: ours while we work, then the caller's again."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def clean_state(seed: int = 0) -> Iterator[None]:
    """Gradients on, fp32, CPU, no autocast, seeded generators, warnings that are no errors; then all as it was.

    Threads, numpy's handling of floating-point errors and the precision and determinism of torch's products are given
    back too. Nothing that the caller has switched on for its own code (``torch.no_grad()``, ``set_default_dtype``,
    ``-W error``) reaches what is searched, applied or loaded.
    """
    with ExitStack() as stack:
        for part in (_warnings(), _random(seed), _numpy(seed), _torch_settings(), _torch_modes(), _torch_random(seed)):
            stack.enter_context(part)
        yield


@contextmanager
def environment_set(variables: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, for child processes and libraries that start in between; then the caller's own."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def modes_kept(model: Any) -> Iterator[None]:
    """A caller's module gets back which of its parts are in training mode."""
    from torch import nn

    training = {part: part.training for part in model.modules()} if isinstance(model, nn.Module) else {}
    try:
        yield
    finally:
        for part, mode in training.items():
            part.training = mode


def without_inference(value: Any) -> Any:
    """The same model, tensors, or containers of tensors, as copies where they were made in inference mode.

    Such tensors can never take part in what needs gradients, and remain so outside of that mode.
    """
    import torch
    from torch import nn

    if isinstance(value, torch.Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, nn.Module):
        return _copied(value) if any(t.is_inference() for t in (*value.parameters(), *value.buffers())) else value
    if type(value) is dict:
        return {key: without_inference(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(without_inference(item) for item in value)
    return value


def _copied(model: nn.Module) -> nn.Module:
    from torch import nn

    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        plain = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(plain, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else plain
    return deepcopy(model, memo)


@contextmanager
def _warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filters[:] = [("default" if kind == "error" else kind, *rest) for kind, *rest in warnings.filters]  # type: ignore[index]  # a list, typed as a sequence
        yield


@contextmanager
def _random(seed: int) -> Iterator[None]:
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def _numpy(seed: int) -> Iterator[None]:
    import numpy as np

    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            yield
    finally:
        np.random.set_state(before)


@contextmanager
def _torch_modes() -> Iterator[None]:
    import torch

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.empty(0).device.type != "cpu":  # not otherwise: this mode looks at every operation, also timed ones
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def _torch_settings() -> Iterator[None]:
    import torch

    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    restore_precision = _precision()
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        restore_precision()
        torch.set_num_threads(threads)


def _precision() -> Any:
    """A function that sets the precision of fp32 products as it is now, by whichever of torch's two ways it was set."""
    import torch

    try:
        known = torch.get_float32_matmul_precision()
    except RuntimeError:  # set per backend, by the newer way
        backends: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at import
        values = [backend.fp32_precision for backend in backends]

        def restore() -> None:
            for backend, value in zip(backends, values, strict=True):
                backend.fp32_precision = value

        return restore
    return lambda: torch.set_float32_matmul_precision(known)


@contextmanager
def _torch_random(seed: int) -> Iterator[None]:
    import torch

    cards = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    before, on_cards = torch.get_rng_state(), torch.cuda.get_rng_state_all() if cards else []
    torch.default_generator.manual_seed(seed)
    if cards:
        torch.cuda.manual_seed_all(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if cards:
            torch.cuda.set_rng_state_all(on_cards)
