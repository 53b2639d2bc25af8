"""Cutting units out of a group: rows of the linears that make the units, columns of the one that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from autocompress.plugin import Group, bias_of, empty_linear, make_linear, weight_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def cut_rows(group: Group, rows: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """New linears with only these output features, by role; roles of one fused linear share one new linear.

    rows: role to the kept features, counted among the role's own features.
    """
    return _by_object(group, tuple(rows), lambda linear, roles: _cut(group, linear, {r: rows[r] for r in roles}))


def empty_rows(group: Group, counts: Mapping[str, int]) -> dict[str, nn.Module]:
    """The same structure without weights. counts: role to how many of its features are kept."""

    def empty(linear: nn.Module, roles: tuple[str, ...]) -> nn.Module:
        weight = weight_of(linear)
        lost = sum(len(group.layer.roles[role].rows()) - counts[role] for role in roles)
        return empty_linear(weight.shape[1], weight.shape[0] - lost, bias=bias_of(linear) is not None, like=weight)

    return _by_object(group, tuple(counts), empty)


def cut_columns(linear: nn.Module, kept: Tensor) -> nn.Module:
    """The linear with only these input features, its values as they were."""
    return make_linear(weight_of(linear)[:, kept], bias_of(linear))


def empty_columns(linear: nn.Module, count: int) -> nn.Module:
    """The same structure without weights."""
    weight = weight_of(linear)
    return empty_linear(count, weight.shape[0], bias=bias_of(linear) is not None, like=weight)


def _cut(group: Group, linear: nn.Module, rows: Mapping[str, Tensor]) -> nn.Module:
    import torch

    weight, bias = weight_of(linear), bias_of(linear)
    mask = torch.ones(weight.shape[0], dtype=torch.bool, device=weight.device)
    for role, kept in rows.items():
        own = torch.tensor(group.layer.roles[role].rows(), device=weight.device)
        mask[own] = False
        mask[own[kept]] = True
    return make_linear(weight[mask], None if bias is None else bias[mask])


def _by_object(
    group: Group, roles: tuple[str, ...], make: Callable[[nn.Module, tuple[str, ...]], nn.Module]
) -> dict[str, nn.Module]:
    """One new module for every distinct old one, made from it and the roles that it plays."""
    made: dict[int, nn.Module] = {}
    for role in roles:
        linear = group.modules[role]
        if id(linear) not in made:
            made[id(linear)] = make(linear, tuple(r for r in roles if group.modules[r] is linear))
    return {role: made[id(group.modules[role])] for role in roles}
