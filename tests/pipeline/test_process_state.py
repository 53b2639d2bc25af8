"""Whatever the caller has set in its process: the same results as in a clean one, and its settings as they were."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import tiny
import torch

import autocompress as ac
from autocompress.basics.process_state import clean_state, without_inference
from autocompress.pipeline.result import SearchResult
from autocompress.sessions.child import state_bytes
from autocompress.structure import call, main_output

POLICY = ac.Policy(
    {
        "encoder.layer.0:ffn": ac.LayerPolicy((ac.Step("ffn-neurons", {"keep": 0.5}),)),
        "encoder.layer.1.attention.self.query": ac.LayerPolicy((ac.Step("svd", {"rank": 8}),)),
    }
)
OPTIONS: dict[str, Any] = {"task": "embedding", "sequence": tiny.SEQUENCE, "threads": 1}


def _set(setter: Callable[[Any], object], value: Any, default: Any) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def state() -> Iterator[None]:
        setter(value)
        try:
            yield
        finally:
            setter(default)

    return state


@contextmanager
def _errors() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


@contextmanager
def _seeds() -> Iterator[None]:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    yield


@contextmanager
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        patch.delenv("GOMP_SPINCOUNT", raising=False)
        patch.setenv("OMP_NUM_THREADS", "7")
        yield


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "set_grad_enabled(False)": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "float64 by default": _set(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16 by default": _set(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "meta by default": _set(torch.set_default_device, "meta", None),
    "in a device context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "three threads": _set(torch.set_num_threads, 3, 1),
    "deterministic algorithms": _set(torch.use_deterministic_algorithms, True, False),
    "medium products": _set(torch.set_float32_matmul_precision, "medium", "highest"),
    "warnings and numpy's errors raise": _errors,
    "other seeds": _seeds,
    "other OpenMP settings": _environment,
    "loud Optuna": _set(optuna.logging.set_verbosity, optuna.logging.DEBUG, optuna.logging.INFO),
}


@contextmanager
def _all_states() -> Iterator[None]:
    with ExitStack() as stack:
        for name, state in STATES.items():
            if name != "bfloat16 by default":
                stack.enter_context(state())
        yield


def _ambient() -> dict[str, Any]:
    """Everything that a caller may have set, comparable."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "precision": torch.get_float32_matmul_precision(),
        "engine": torch.backends.quantized.engine,
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "numpy errors": np.geterr(),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "optuna": optuna.logging.get_verbosity(),
    }


def _apply() -> torch.Tensor:
    """The outputs of the compressed model; it is built, trained or not, in the state that is around."""
    with clean_state():
        model, data = tiny.model(), tiny.data()
    applied = ac.apply(POLICY, model, data=data, **OPTIONS)
    with clean_state(), torch.no_grad():
        return main_output(call(applied, {name: rows[:4] for name, rows in data.items()})).clone()


@pytest.fixture(scope="module")
def applied() -> torch.Tensor:
    torch.set_num_threads(1)
    return _apply()


@pytest.mark.parametrize("state", STATES)
def test_applying_gives_the_same_and_leaves_the_state(state: str, applied: torch.Tensor) -> None:
    torch.set_num_threads(1)
    with STATES[state]():
        before = _ambient()
        outputs = _apply()
        assert _ambient() == before
    assert not outputs.is_inference()
    assert torch.equal(outputs, applied)


@pytest.mark.parametrize("state", ["no_grad", "inference_mode"])
def test_a_model_and_data_made_in_that_state_are_as_good(state: str, applied: torch.Tensor) -> None:
    torch.set_num_threads(1)
    with STATES[state]():
        model, data = tiny.model().requires_grad_(True), tiny.data()
        changed = ac.apply(POLICY, model, data=data, **OPTIONS)
        outputs = main_output(call(changed, {name: rows[:4] for name, rows in data.items()}))
        assert torch.equal(outputs.cpu(), applied)
    assert not any(parameter.is_inference() for parameter in changed.parameters())


def test_the_callers_module_gets_its_training_mode_back() -> None:
    model = tiny.model()
    model.encoder.layer[1].train()
    before = {name: part.training for name, part in model.named_modules()}
    ac.apply(POLICY, model, data=tiny.data(), **OPTIONS)
    assert {name: part.training for name, part in model.named_modules()} == before
    assert any(before.values())


def test_an_error_leaves_the_state_too() -> None:
    other = ac.Policy({"nothing": ac.LayerPolicy((ac.Step("svd", {"rank": 8}),))})
    with _all_states():
        before = _ambient()
        with pytest.raises(ac.AutocompressError, match="another architecture"):
            ac.apply(other, _clean(tiny.model), data=_clean(tiny.data), **OPTIONS)
        assert _ambient() == before


def _clean(make: Callable[[], Any]) -> Any:
    with clean_state():
        return make()


def _search(out: Path) -> SearchResult:
    model, data = _clean(tiny.model), _clean(tiny.data)
    return ac.search(
        model, ["size=95%", "quality=20%"], data=data, out=out, trials=4, sessions=2, space="prune", **OPTIONS
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return _search(tmp_path_factory.mktemp("clean") / "run")


@pytest.mark.parametrize("state", ["no_grad", "all at once"])
def test_a_search_gives_the_same_and_leaves_the_state(state: str, searched: SearchResult, tmp_path: Path) -> None:
    """Which policies are tried depends on timings; what one policy gives does not."""
    with _all_states() if state == "all at once" else STATES[state]():
        before = _ambient()
        found = _search(tmp_path / "run")
        assert _ambient() == before
    assert found.kept
    assert found.best is not None
    for name in ("quality", "size"):
        assert found.baseline[name].median == searched.baseline[name].median
    values = {trial.policy.digest(): trial.values for trial in searched.trials}
    shared = [trial for trial in found.trials if trial.policy.digest() in values]
    assert shared
    for trial in shared:
        assert trial.values["quality"] == values[trial.policy.digest()]["quality"]
        assert trial.values["size"] == values[trial.policy.digest()]["size"]
    with STATES["inference_mode"]():
        again = ac.load(found.best.path, base=_clean(tiny.model))
    assert not any(parameter.is_inference() for parameter in again.model.parameters())
    assert state_bytes(again.model) == state_bytes(found.best.model)
    assert {tensor.dtype for tensor in again.model.parameters()} == {torch.float32}


def test_ordinary_values_are_not_copied() -> None:
    model, data = tiny.model(), tiny.data()
    assert without_inference(model) is model
    assert without_inference(data)["input_ids"] is data["input_ids"]
    with torch.inference_mode():
        tied = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        tied[1].weight = tied[0].weight
    copy = without_inference(tied)
    assert copy[1].weight is copy[0].weight
    assert torch.equal(copy[0].weight, tied[0].weight)
    assert not copy[0].weight.is_inference()
    assert copy[0].weight.requires_grad
