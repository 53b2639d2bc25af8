"""Proof of a group: what is cut out must equal what is masked out, on the whole model.

The cut also shows which attributes (head counts and the like) the surrounding modules need changed: the smallest set of
integer attributes, equal to a size of the group, under which cut and mask agree.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from autocompress.layer import Role
from autocompress.linears import bias_of, make_linear, weight_of
from autocompress.nested import main_output
from autocompress.structure.groups import Candidate
from autocompress.structure.modules import installed
from autocompress.structure.trace import call

logger = logging.getLogger(__name__)
MOST_ATTRIBUTES = 6


def prove(model: nn.Module, group: Candidate, example: Mapping[str, Tensor]) -> tuple[dict[str, str], str]:
    """Attribute edits that the group needs, and "" or the reason why it cannot be changed."""
    try:
        return _proven(model, group, example)
    except Exception as error:  # a stranger's model may raise anything
        logger.debug("cannot cut %s", group, exc_info=True)
        return {}, f"no unit can be cut out of it ({_first_line(error)})"


def _proven(model: nn.Module, group: Candidate, example: Mapping[str, Tensor]) -> tuple[dict[str, str], str]:
    modules, columns, sizes = _cut(model, group)
    exit_role = "down" if group.kind == "ffn" else "out"
    exit_fqn = group.roles[exit_role].fqn
    dense = model.get_submodule(exit_fqn)
    weight = weight_of(dense).clone()
    weight[:, columns] = 0
    with torch.inference_mode():
        with installed(model, {exit_fqn: make_linear(weight, bias_of(dense))}, {}):
            masked = main_output(call(model, example))
        reason = "its features are used elsewhere in the model"
        for edits in _edits(model, group):
            values = {path: sizes[size] for path, size in edits.items()}
            try:
                with installed(model, modules, values):
                    cut = main_output(call(model, example))
            except Exception as error:  # cutting what the model reshapes elsewhere raises whatever that raises
                logger.debug("cutting with %s", edits, exc_info=True)
                reason = f"its features are used elsewhere in the model ({_first_line(error)})"
                continue
            if cut.shape == masked.shape and torch.allclose(cut, masked, rtol=1e-3, atol=1e-4):
                return dict(edits), ""
    return {}, reason


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:80]


def _cut(model: nn.Module, group: Candidate) -> tuple[dict[str, nn.Module], Tensor, dict[str, int]]:
    """The group's modules without its first unit (neuron, or kv head with its q heads); columns removed; new sizes."""
    sizes = dict(group.sizes)
    if group.kind == "ffn":
        drop = {role: [0] for role in group.roles if role != "down"}
        columns = torch.tensor([0])
        sizes["width"] -= 1
    else:
        head_dim, repeat = sizes["head_dim"], sizes["heads"] // sizes["kv_heads"]
        drop = {"q": list(range(repeat * head_dim)), "k": list(range(head_dim)), "v": list(range(head_dim))}
        columns = torch.tensor(drop["q"])
        sizes |= {"heads": sizes["heads"] - repeat, "kv_heads": sizes["kv_heads"] - 1}
        sizes |= {"inner": sizes["heads"] * head_dim, "kv_inner": sizes["kv_heads"] * head_dim}
    exit_role = group.roles["down" if group.kind == "ffn" else "out"]
    modules: dict[str, nn.Module] = {}
    for fqn in {role.fqn for name, role in group.roles.items() if name in drop}:
        linear = model.get_submodule(fqn)
        rows = torch.ones(weight_of(linear).shape[0], dtype=torch.bool)
        for name, role in group.roles.items():
            if role.fqn == fqn and name in drop:
                rows[_shifted(role, drop[name])] = False
        bias = bias_of(linear)
        modules[fqn] = make_linear(weight_of(linear)[rows], None if bias is None else bias[rows])
    linear = model.get_submodule(exit_role.fqn)
    kept = torch.ones(weight_of(linear).shape[1], dtype=torch.bool)
    kept[columns] = False
    modules[exit_role.fqn] = make_linear(weight_of(linear)[:, kept], bias_of(linear))
    return modules, columns, sizes


def _shifted(role: Role, rows: list[int]) -> list[int]:
    return [role.start + row for row in rows]


def _edits(model: nn.Module, group: Candidate) -> Iterator[dict[str, str]]:
    """Sets of attribute edits to try: none, then all that match, then smaller and smaller sets of them."""
    yield {}
    sizes = dict(group.sizes)
    if group.kind == "attention":
        inner, kv_inner = sizes["heads"] * sizes["head_dim"], sizes["kv_heads"] * sizes["head_dim"]
        sizes = {"heads": sizes["heads"], "kv_heads": sizes["kv_heads"], "inner": inner, "kv_inner": kv_inner}
    found: dict[str, str] = {}
    for owner in dict.fromkeys(role.fqn.rpartition(".")[0] for role in group.roles.values()):
        for name, value in vars(model.get_submodule(owner)).items():
            size = next((key for key, known in sizes.items() if known == value), None)
            if type(value) is int and size:
                found[f"{owner}.{name}" if owner else name] = size
    paths = list(found)[:MOST_ATTRIBUTES]
    for count in range(len(paths), 0, -1):
        for chosen in combinations(paths, count):
            yield {path: found[path] for path in chosen}
