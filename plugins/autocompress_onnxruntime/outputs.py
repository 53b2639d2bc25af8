"""The form of what a model returns, as JSON: a graph only knows a row of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


class Outputs(dict[str, Any]):
    """Outputs by name, by attribute or by position, as those of Transformers are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: Any) -> Any:
        return tuple(self.values())[key] if isinstance(key, int | slice) else super().__getitem__(key)


def form_of(value: Any) -> Any:
    """The form of a nested value; `rebuilt` gives tensors that form. What holds no tensor comes back as None."""
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, Mapping):
        return {str(name): form_of(child) for name, child in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: form_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [form_of(child) for child in value]
    return None


def rebuilt(form: Any, tensors: Sequence[Tensor]) -> Any:
    """The tensors, in the order in which `tensors` of the door yields them, in a form."""
    return _rebuilt(form, iter(tensors))


def _rebuilt(form: Any, left: Any) -> Any:
    if form == "tensor":
        return next(left)
    if isinstance(form, dict):
        return Outputs({name: _rebuilt(child, left) for name, child in form.items()})
    return tuple(_rebuilt(child, left) for child in form) if isinstance(form, list) else None
