"""One rule for nested tensors: found, mapped and compared wherever a module puts them."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from autocompress.errors import ModelError
from autocompress.structure.nested import float_tensors, main_input, main_output, map_tensors, tensors

Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Answer:
    hidden: Any
    note: str = "x"


@dataclass
class Plain:
    parts: list[Any]


ONE = torch.ones(2)
VALUES = [
    ONE,
    (ONE, None, 3),
    [ONE, (ONE,)],
    {"a": ONE, "b": {"c": [ONE]}},
    Pair(ONE, "text"),
    Answer((ONE, {"deep": ONE})),
    Plain([Answer(ONE)]),
    torch.max(torch.ones(2, 2), dim=1),
    BaseModelOutput(last_hidden_state=ONE, hidden_states=(ONE, ONE)),
    MappingProxyType({"a": ONE}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_mapped_value_has_the_same_form(value: Any) -> None:
    before = [tensor.clone() for tensor in tensors(value)]
    assert before
    mapped = map_tensors(lambda tensor: tensor + 1, value)
    assert isinstance(mapped, dict if isinstance(value, MappingProxyType) else type(value))
    pairs = list(zip(tensors(mapped), before, strict=True))
    assert all(torch.equal(after, old + 1) for after, old in pairs)
    assert all(torch.equal(now, old) for now, old in zip(tensors(value), before, strict=True)), "it was edited"
    assert torch.is_tensor(main_output(mapped))


def test_a_model_output_is_mapped_as_mapping_and_as_attributes() -> None:
    mapped = map_tensors(lambda tensor: tensor * 2, BaseModelOutput(last_hidden_state=ONE))
    assert mapped["last_hidden_state"] is mapped.last_hidden_state
    assert torch.equal(mapped.last_hidden_state, ONE * 2)


def test_what_holds_no_tensor_is_the_same_object() -> None:
    value = {"a": [1, "b"], "c": None}
    assert map_tensors(torch.neg, value) is value


def test_the_outermost_level_with_tensors_counts() -> None:
    hidden, logits = torch.zeros(1), torch.ones(1)
    assert list(float_tensors(((hidden,), logits))) == ["1"]
    assert list(float_tensors(Answer(({"h": hidden},)))) == ["hidden.0.h"]
    assert main_output(((hidden,), logits)) is logits
    assert float_tensors((torch.ones(1, dtype=torch.int64), "text")) == {}
    with pytest.raises(ModelError, match="returned tuple without a floating-point tensor"):
        main_output((3, "text"))


def test_a_structure_that_holds_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert list(tensors(value)) == []
    assert float_tensors(value) == {}


def test_an_input_is_found_by_position_or_by_keyword() -> None:
    assert main_input((None, ONE), {}) is ONE
    assert main_input((), {"flag": True, "x": (ONE,)}) is ONE
    assert main_input((), {}) is None
