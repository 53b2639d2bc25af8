"""Tensors as they are at one moment of a forward pass that may change them in place later."""

from __future__ import annotations

import logging
import weakref
from copy import deepcopy
from typing import Any

from torch import Tensor

from autocompress.structure.nested import map_leaves, tensors

logger = logging.getLogger(__name__)


class Snapshots:
    """Copies nested values; tensors that are asked for twice between two changes of them are copied once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], int, Tensor]] = {}

    def __call__(self, value: Any) -> Any:
        """The copy, without a graph; objects with a state of their own (a key-value cache) are copied whole."""
        return map_leaves(lambda leaf: self._tensor(leaf) if isinstance(leaf, Tensor) else _own(leaf), value)

    def _tensor(self, tensor: Tensor) -> Tensor:
        if tensor.is_inference():  # counts no changes
            return tensor.detach().clone()
        known = self._known.get(id(tensor))
        if known is None or known[0]() is not tensor or known[1] != tensor._version:
            known = (weakref.ref(tensor), tensor._version, tensor.detach().clone())
            self._known[id(tensor)] = known
        return known[2]


def versions(value: Any) -> list[int]:
    """How often each tensor in a nested value was changed in place so far."""
    return [-1 if tensor.is_inference() else tensor._version for tensor in tensors(value)]


def fresh(value: Any) -> Any:
    """A nested value for one more call that may change it."""
    return map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else _own(leaf), value)


def has_state(value: Any) -> bool:
    """Whether an object that is no tensor, module or function has attributes, which a call may change."""
    found = False

    def look(leaf: Any) -> Any:
        nonlocal found
        found = found or _stateful(leaf)
        return leaf

    map_leaves(look, value)
    return found


def _own(leaf: Any) -> Any:
    if not _stateful(leaf):
        return leaf
    try:
        return deepcopy(leaf)
    except Exception:  # whatever a stranger's object holds; then every call shares it, as the model's own do
        logger.debug("cannot copy a %s", type(leaf).__name__, exc_info=True)
        return leaf


def _stateful(leaf: Any) -> bool:
    return hasattr(leaf, "__dict__") and not isinstance(leaf, Tensor) and not callable(leaf)
