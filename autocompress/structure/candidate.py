"""A group as the couplings show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autocompress.core.layer import Role


@dataclass(frozen=True)
class Candidate:
    """A group as the couplings show it, not yet proven by surgery.

    note     why it cannot be cut, where that is known already.
    beside   other linears that take part; they play no role.
    """

    kind: str
    roles: Mapping[str, Role]
    sizes: Mapping[str, int]
    note: str = ""
    beside: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The linears that play a role, each once."""
        return tuple(dict.fromkeys(role.fqn for role in self.roles.values()))
