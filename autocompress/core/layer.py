"""A layer: one thing that a policy can change. A linear, or a group of linears that change together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("linear", "conv", "embedding", "ffn", "attention", "block")


@dataclass(frozen=True)
class Role:
    """Which submodule plays a role in a group, and which of its output features belong to the role.

    A fused projection plays several roles, each with features of its own: all of ``[start, stop)``, or, where
    ``stride`` is set, a run of ``size`` every ``stride``, one run a unit of the group (heads as ``q k v q k v``).
    """

    fqn: str
    start: int
    stop: int
    size: int = 0
    stride: int = 0

    def rows(self) -> tuple[int, ...]:
        """The role's output features in the order of the group's units.

        >>> Role("qkv", 2, 10, size=2, stride=6).rows()
        (2, 3, 8, 9)
        """
        if not self.stride:
            return tuple(range(self.start, self.stop))
        return tuple(
            row for first in range(self.start, self.stop, self.stride) for row in range(first, first + self.size)
        )


@dataclass(frozen=True)
class Layer:
    """One layer by structure, never by model name.

    fqn      the submodule's name; a group is named ``<owner>:<kind>`` after the module that holds all its roles.
    kind     one of KINDS.
    owner    the smallest module that holds every role; replayed alone to time and score the options of the layer.
    roles    role to submodule. One layer: ``{kind: ...}``; ffn: ``up``, ``down`` and, gated, ``gate``;
             attention: ``q``, ``k``, ``v``, ``out``; block: ``block``.
    shapes   role to weight shape, linear as ``(out_features, in_features)``, embedding as ``(rows, dim)``.
    sizes    what a group counts: ffn ``width``; attention ``heads``, ``kv_heads``, ``head_dim``.
    edits    attributes outside the roles that must follow a size: ``"encoder.0.attn.num_heads" -> "heads"``.
    tied     other submodules that hold the very same weights.
    order    position in the order of execution, from 0.
    block    the repeated block it lies in, or "".
    note     why a group has no legal change here ("" when it has).
    """

    fqn: str
    kind: str
    owner: str
    roles: Mapping[str, Role]
    shapes: Mapping[str, tuple[int, ...]]
    n_params: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    edits: Mapping[str, str] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    order: int = 0
    block: str = ""
    note: str = ""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the submodules that play a role, each once, in the order of the roles."""
        return tuple(dict.fromkeys(role.fqn for role in self.roles.values()))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layer:
        return cls(
            **{
                **data,
                "roles": {name: Role(**role) for name, role in data["roles"].items()},
                "shapes": {name: tuple(shape) for name, shape in data["shapes"].items()},
                "tied": tuple(data["tied"]),
            }
        )
