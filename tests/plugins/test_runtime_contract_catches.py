"""The contract notices runtimes that break it: each of these is wrong in one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from autocompress_torch.eager import TorchRuntime
from torch import Tensor, nn

from autocompress.contracts.runtime import Program
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.structure.nested import main_output
from autocompress.testing import RuntimeContract


class Wrapped(TorchRuntime):
    """The eager runtime with something done to every call."""

    def __init__(self, change: Callable[[Program, Mapping[str, Tensor]], Any]) -> None:
        self._change = change

    def lower(self, model: nn.Module, policy: Policy, example: Mapping[str, Tensor], *, target: Target) -> Program:
        program = super().lower(model, policy, example, target=target)
        return lambda inputs: self._change(program, inputs)


def _first_rows(program: Program, inputs: Mapping[str, Tensor]) -> Any:
    return program({name: value[:4] for name, value in inputs.items()})


def _short(program: Program, inputs: Mapping[str, Tensor]) -> Any:
    return program({name: value[:, :8] for name, value in inputs.items()})


def _rough(program: Program, inputs: Mapping[str, Tensor]) -> Any:
    output = program(inputs)
    return output.half().float() if isinstance(output, Tensor) else output


def _bare(program: Program, inputs: Mapping[str, Tensor]) -> Any:
    return main_output(program(inputs))


KEPT: dict[tuple[int, ...], Tensor] = {}


def _one_buffer(program: Program, inputs: Mapping[str, Tensor]) -> Any:
    output = program(inputs)
    if not isinstance(output, Tensor):
        return output
    kept = KEPT.setdefault(tuple(output.shape), torch.empty_like(output))
    return kept.copy_(output)


def _contract(change: Callable[[Program, Mapping[str, Tensor]], Any]) -> RuntimeContract:
    class Case(RuntimeContract):
        runtime = Wrapped(change)

    return Case()


def test_what_is_right_passes() -> None:
    contract = _contract(lambda program, inputs: program(inputs))
    contract.test_gives_the_models_outputs_for_other_rows_and_lengths_too(7, 8)
    contract.test_gives_outputs_in_the_models_own_form("nested")
    contract.test_an_answer_is_not_overwritten_by_the_next()


@pytest.mark.parametrize(("change", "rows", "length"), [(_first_rows, 7, 8), (_short, 1, 20), (_rough, 4, 8)])
def test_wrong_numbers_are_caught(change: Any, rows: int, length: int) -> None:
    with pytest.raises(AssertionError):
        _contract(change).test_gives_the_models_outputs_for_other_rows_and_lengths_too(rows, length)


@pytest.mark.parametrize("form", ["mapping", "nested", "model output"])
def test_a_lost_structure_is_caught(form: str) -> None:
    with pytest.raises(AssertionError):
        _contract(_bare).test_gives_outputs_in_the_models_own_form(form)


def test_a_buffer_that_is_used_again_is_caught() -> None:
    with pytest.raises(AssertionError):
        _contract(_one_buffer).test_an_answer_is_not_overwritten_by_the_next()
