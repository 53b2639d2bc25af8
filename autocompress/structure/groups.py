"""Ffn and attention groups, read off the couplings between linears; no model family is known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autocompress.layer import Role
from autocompress.structure.trace import Coupling, Trace, couplings

TRIED_CHANNELS = 8


@dataclass(frozen=True)
class Candidate:
    """A group as the couplings show it, not yet proven by surgery."""

    kind: str
    roles: Mapping[str, Role]
    sizes: Mapping[str, int]


def find_groups(found: Trace, widths: Mapping[str, tuple[int, int]]) -> list[Candidate]:
    """All candidate groups. widths: linear name to ``(out_features, in_features)``.

    A linear belongs to one group at most; the first in the order of execution wins.
    """
    groups: list[Candidate] = []
    taken: set[str] = set()
    live = {linear: _live_channel(found, linear, widths[linear][1]) for linear in found.linears}
    consumers = _consumers(live)
    for linear in found.linears:
        channel, coupled = live[linear]
        candidate = _ffn(linear, channel, coupled, widths) or _attention(found, linear, widths)
        if candidate is None:
            continue
        members = {role.fqn for role in candidate.roles.values()}
        inner = members - {linear}
        if members & taken or any(consumers[name] - {linear} for name in inner):
            continue
        taken |= members
        groups.append(candidate)
    return groups


def _live_channel(found: Trace, linear: str, in_features: int) -> tuple[int, dict[str, Coupling]]:
    """The first of a few channels that couples with anything (a ReLU may have cut one off), and its couplings."""
    channel = in_features // 2
    for probe in range(TRIED_CHANNELS):
        channel = (in_features // 2 + probe * (in_features // TRIED_CHANNELS + 1)) % in_features
        coupled = couplings(found, linear, channel)
        if coupled:
            return channel, coupled
    return channel, {}


def _consumers(live: Mapping[str, tuple[int, dict[str, Coupling]]]) -> dict[str, set[str]]:
    """Linear name to the later linears whose input depends on its output directly."""
    consumers: dict[str, set[str]] = {name: set() for name in live}
    for linear, (_, coupled) in live.items():
        for name in coupled:
            consumers[name].add(linear)
    return consumers


def _ffn(
    down: str, channel: int, coupled: Mapping[str, Coupling], widths: Mapping[str, tuple[int, int]]
) -> Candidate | None:
    """One or two linears whose channel ``c`` alone reaches channel ``c`` of ``down``: plain or gated ffn."""
    width = widths[down][1]
    for name, coupling in coupled.items():
        if widths[name][0] != width or not _is_only(coupling.local, channel) or bool(coupling.other.any()):
            return None
    if not 1 <= len(coupled) <= 2:
        return None
    names = ["up"] if len(coupled) == 1 else ["gate", "up"]
    roles = {role: Role(name, 0, width) for role, name in zip(names, coupled, strict=True)}
    return Candidate("ffn", {**roles, "down": Role(down, 0, widths[down][0])}, {"width": width})


def _attention(found: Trace, out: str, widths: Mapping[str, tuple[int, int]]) -> Candidate | None:
    """q is one block at the same position, k one block and v one channel at all positions."""
    inner = widths[out][1]
    readings = [_read_heads(found, out, channel) for channel in (0, inner - 1)]
    if any(reading is None for reading in readings):
        return None
    first, last = readings
    assert first is not None
    assert last is not None
    head_dim = first["q"][2]
    if head_dim < 2 or inner % head_dim or last["q"][2] != head_dim:
        return None
    heads = inner // head_dim
    roles, rows = {}, {}
    for role in ("q", "k", "v"):
        fqn, start, _ = first[role]
        last_fqn, last_start, _ = last[role]
        end = last_start + (1 if role == "v" else head_dim)
        if fqn != last_fqn or (end - start) % head_dim:
            return None
        roles[role], rows[role] = Role(fqn, start, end), (end - start) // head_dim
    kv_heads = rows["k"]
    if rows["q"] != heads or rows["v"] != kv_heads or heads % kv_heads:
        return None
    sizes = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    return Candidate("attention", {**roles, "out": Role(out, 0, widths[out][0])}, sizes)


def _read_heads(found: Trace, out: str, channel: int) -> dict[str, tuple[str, int, int]] | None:
    """Role to ``(linear, first feature, number of features)`` that reach one channel of ``out``."""
    roles: dict[str, tuple[str, int, int]] = {}
    for name, coupling in couplings(found, out, channel).items():
        for start, stop in _runs(coupling.any):
            local_only = not bool(coupling.other[start:stop].any())
            role = "q" if local_only else "v" if stop - start == 1 else "k"
            if role in roles:
                return None
            roles[role] = (name, start, stop - start)
    complete = set(roles) == {"q", "k", "v"} and roles["q"][2] == roles["k"][2]
    return roles if complete else None


def _is_only(mask: Tensor, index: int) -> bool:
    return bool(mask[index]) and int(mask.sum()) == 1


def _runs(mask: Tensor) -> list[tuple[int, int]]:
    """The contiguous stretches ``[start, stop)`` of True."""
    padded = torch.cat([mask.new_zeros(1), mask, mask.new_zeros(1)]).int()
    edges = padded.diff()
    starts, stops = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
