"""Attention groups: which features of which linears are the heads of q, k and v, whatever linears hold them.

What reaches one input channel of the output projection: at its own position only, a block of q; at other positions too,
a block of k and the channel's own feature of v. A block is a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from autocompress.core.layer import Role
from autocompress.structure.candidate import Candidate
from autocompress.structure.trace import Coupling, Trace, couplings

Block = tuple[str, int, int]
"""Linear, first feature, number of features."""
ROLES = ("q", "k", "v")


def attention(found: Trace, out: str, shape: tuple[int, int]) -> Candidate | None:
    """The group whose heads ``out`` reads; with a note where it mixes positions as attention does, but not by heads.

    shape: ``(out_features, in_features)`` of ``out``.
    """
    rows, inner = shape
    exit_role = {"out": Role(out, 0, rows)}
    # Not channel 0: where q, k and v lie side by side in one linear, its feature of v may touch the block of k.
    coupled = couplings(found, out, min(1, inner - 1))
    if not _mixes_positions(coupled):
        return None
    first = _read(coupled, min(1, inner - 1))
    if first is None:
        return Candidate("attention", exit_role, {}, _unread(coupled), tuple(coupled))
    head_dim = first["q"][2]
    heads = inner // head_dim
    if head_dim < 2 or inner % head_dim:
        return Candidate(
            "attention", exit_role, {}, f"{inner} channels are no whole heads of {head_dim}", tuple(coupled)
        )
    if heads == 1:
        note = f"q and k act as one block of {head_dim} features (one head, or a norm across heads): no head is alone"
        return Candidate("attention", exit_role, {}, note, tuple(coupled))
    read = [first]
    for head in range(1, heads):
        channel = head * head_dim + 1
        blocks = _read(couplings(found, out, channel), channel % head_dim)
        if blocks is None or [blocks[role][0] for role in ROLES] != [first[role][0] for role in ROLES]:
            return Candidate("attention", exit_role, {}, "its heads are not all made the same way", tuple(coupled))
        read.append(blocks)
    return _grouped(read, head_dim, exit_role, tuple(coupled))


def _grouped(
    read: Sequence[Mapping[str, Block]], head_dim: int, exit_role: Mapping[str, Role], names: tuple[str, ...]
) -> Candidate:
    """Heads by the k and v that they share, each role's features at equal distances."""
    heads = len(read)
    kv_heads = len({blocks["k"][1] for blocks in read})
    repeat, rest = divmod(heads, kv_heads)
    units = [read[unit * repeat : (unit + 1) * repeat] for unit in range(kv_heads)]
    whole = not rest and all(len({blocks[role][1] for blocks in unit}) == 1 for unit in units for role in ("k", "v"))
    if not whole or any(blocks[role][2] != head_dim for blocks in read for role in ("q", "k")):
        note = "its heads share keys and values in another way than neighbour by neighbour"
        return Candidate("attention", exit_role, {}, note, names)
    if kv_heads == 1:
        note = f"all {heads} heads read one key-value head: none of them goes with keys and values of its own"
        return Candidate("attention", exit_role, {}, note, names)
    roles = {}
    for role in ROLES:
        size = head_dim * (repeat if role == "q" else 1)
        run = [blocks[role][1] for unit in units for blocks in (unit if role == "q" else unit[:1])]
        starts = run[:: repeat if role == "q" else 1]
        strides = {after - before for before, after in pairwise(starts)}
        each = len(run) // kv_heads
        together = all(at == starts[i // each] + i % each * head_dim for i, at in enumerate(run))
        if len(strides) > 1 or min(strides) < size or not together:
            note = f"the heads of {read[0][role][0]} do not lie at equal distances"
            return Candidate("attention", exit_role, {}, note, names)
        roles[role] = _role(read[0][role][0], starts, size, min(strides))
    return Candidate("attention", {**roles, **exit_role}, {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim})


def _role(fqn: str, starts: Sequence[int], size: int, stride: int) -> Role:
    stop = starts[-1] + size
    return Role(fqn, starts[0], stop) if stride == size else Role(fqn, starts[0], stop, size=size, stride=stride)


def _read(coupled: Mapping[str, Coupling], within: int) -> dict[str, Block] | None:
    """Role to the block that reaches one channel, ``within`` its head; None where it is not one block a role."""
    roles: dict[str, Block] = {}
    for name, coupling in coupled.items():
        for start, stop in _runs(coupling.local & ~coupling.other):
            if "q" in roles:
                return None
            roles["q"] = (name, start, stop - start)
        for start, stop in _runs(coupling.other):
            role = "v" if stop - start == 1 else "k"
            if role in roles:
                return None
            roles[role] = (name, start, stop - start)
    if set(roles) != set(ROLES) or roles["q"][2] != roles["k"][2] or roles["v"][1] < within:
        return None
    name, feature, _ = roles["v"]
    return {**roles, "v": (name, feature - within, roles["k"][2])}


def _mixes_positions(coupled: Mapping[str, Coupling]) -> bool:
    """Whether a single feature comes from other positions, as one of v does, and more of them beside it."""
    runs = [(stop - start, len(at.other)) for at in coupled.values() for start, stop in _runs(at.other)]
    return any(run == 1 < features for run, features in runs) and any(run > 1 for run, _ in runs)


def _unread(coupled: Mapping[str, Coupling]) -> str:
    """What the couplings show instead of a block of q, a block of k and a feature of v."""
    shown = ", ".join(name.rpartition(".")[2] for name in list(coupled)[:5])
    more = f" and {len(coupled) - 5} more" if len(coupled) > 5 else ""
    return f"a head of it reads more than one block of q, one of k and one feature of v ({shown}{more})"


def _runs(mask: Tensor) -> list[tuple[int, int]]:
    """The contiguous stretches ``[start, stop)`` of True."""
    padded = torch.cat([mask.new_zeros(1), mask, mask.new_zeros(1)]).int()
    edges = padded.diff()
    starts, stops = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
