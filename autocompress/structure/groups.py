"""Ffn and attention groups, read off the couplings between linears; no model family is known by name.

What looks like a group and is not one that can be cut is a candidate with a note, so that nothing is missed in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autocompress.core.layer import Role
from autocompress.structure.candidate import Candidate
from autocompress.structure.heads import attention
from autocompress.structure.trace import Coupling, Trace, couplings

TRIED_CHANNELS = 8
MOST_FEATURES = 2
"""How many features make one hidden neuron: its own, or a gate and an up feature."""
MOST_CONSUMERS = 2
"""What more linears than these read is a stream that the model adds to, not a hidden layer."""


@dataclass(frozen=True)
class Channel:
    """One input channel of a linear, and what couples with it."""

    index: int
    coupled: Mapping[str, Coupling]

    def features(self) -> list[tuple[str, int]]:
        """(linear, output feature) of everything that reaches the channel, wherever from."""
        return [(name, int(row)) for name, at in self.coupled.items() for row in at.any.nonzero().flatten()]


def find_groups(found: Trace, widths: Mapping[str, tuple[int, int]]) -> list[Candidate]:
    """All candidate groups. widths: linear name to ``(out_features, in_features)``.

    A linear belongs to one group at most; the first in the order of execution wins, and the others say so.
    """
    groups: list[Candidate] = []
    taken: dict[str, str] = {}
    live = {linear: _live_channel(found, linear, widths[linear][1]) for linear in found.linears}
    consumers = _consumers(live)
    for linear in found.linears:
        candidate = attention(found, linear, widths[linear])
        if candidate is None and all(len(consumers[name]) <= MOST_CONSUMERS for name in live[linear].coupled):
            candidate = _ffn(found, linear, live[linear], widths)
        if candidate is None:
            continue
        note = candidate.note or _conflict(candidate, linear, taken, consumers)
        if not note:
            taken |= dict.fromkeys(candidate.members, linear)
        groups.append(replace(candidate, note=note))
    return groups


def _conflict(candidate: Candidate, last: str, taken: Mapping[str, str], consumers: Mapping[str, set[str]]) -> str:
    """Why the group cannot be cut beside the others: a linear in two groups, or features that others read."""
    for name in candidate.members:
        if name in taken:
            return f"{name} is part of the group that ends in {taken[name]}, and a linear is in one group at most"
        others = sorted(consumers[name] - {last}) if name != last else []
        if others:
            return f"the features of {name} also reach {' and '.join(others)}"
    return ""


def _live_channel(found: Trace, linear: str, in_features: int, beside: int = -1) -> Channel:
    """The first of a few channels that couples with anything (a ReLU may have cut one off); not ``beside``."""
    channel = in_features // 2
    for probe in range(TRIED_CHANNELS):
        channel = (in_features // 2 + probe * (in_features // TRIED_CHANNELS + 1)) % in_features
        coupled = couplings(found, linear, channel) if channel != beside else {}
        if coupled:
            return Channel(channel, coupled)
    return Channel(channel, {})


def _consumers(live: Mapping[str, Channel]) -> dict[str, set[str]]:
    """Linear name to the later linears whose input depends on its output directly."""
    consumers: dict[str, set[str]] = {name: set() for name in live}
    for linear, channel in live.items():
        for name in channel.coupled:
            consumers[name].add(linear)
    return consumers


def _ffn(found: Trace, down: str, channel: Channel, widths: Mapping[str, tuple[int, int]]) -> Candidate | None:
    """One or two features that reach a channel of ``down``, of one linear or of two: plain or gated ffn.

    Where they lie is read off two channels, and holds for all: feature ``start + stride * channel``.
    """
    features, (rows, width) = channel.features(), widths[down]
    if not 1 <= len(features) <= MOST_FEATURES:
        return None
    names = tuple(channel.coupled)
    exit_role = {"down": Role(down, 0, rows)}
    if any(bool(at.other.any()) for at in channel.coupled.values()):
        note = f"positions mix between {' and '.join(names)} and {down} (a convolution or pooling), so no linear alone"
        return Candidate("ffn", exit_role, {}, f"{note} makes its neurons", names)
    if all(row == channel.index and widths[name][0] == width for name, row in features):
        makers: list[Role | None] = [Role(name, 0, width) for name, _ in features]
    else:
        second = _live_channel(found, down, width, beside=channel.index)
        if len(second.features()) != len(features):
            return None
        pairs = zip(features, second.features(), strict=True)
        makers = [_line(at, then, (channel.index, second.index), width) for at, then in pairs]
    lines = [role for role in makers if role is not None and role.stop <= widths[role.fqn][0]]
    if len(lines) < len(features):
        note = f"the features of {' and '.join(names)} that make one neuron do not lie at equal distances"
        return Candidate("ffn", exit_role, {}, note, names)
    roles = dict(zip(["up"] if len(lines) == 1 else ["gate", "up"], lines, strict=True))
    return Candidate("ffn", {**roles, **exit_role}, {"width": width})


def _line(at: tuple[str, int], then: tuple[str, int], channels: tuple[int, int], width: int) -> Role | None:
    """The role whose features lie on the line through two (linear, feature) at two channels, if there is one."""
    (name, first), (other, second) = at, then
    stride, rest = divmod(second - first, channels[1] - channels[0])
    start = first - stride * channels[0]
    if name != other or rest or stride < 1 or start < 0:
        return None
    if stride == 1:
        return Role(name, start, start + width)
    return Role(name, start, start + stride * (width - 1) + 1, size=1, stride=stride)
