"""Proof of a group: what is cut out must equal what is masked out, on the whole model.

The cut also shows which attributes (head counts and the like) the surrounding modules need changed: a smallest set of
integers, equal to a size of the group, under which cut and mask agree. A module that reads a size from the model's
config gets a config of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from autocompress.contracts.linears import bias_of, make_linear, weight_of
from autocompress.core.layer import Role
from autocompress.structure.candidate import Candidate
from autocompress.structure.modules import installed
from autocompress.structure.nested import main_output
from autocompress.structure.replay import Recorded, record
from autocompress.structure.trace import call

logger = logging.getLogger(__name__)
MOST_ATTRIBUTES, MOST_CONFIG, MOST_TRIED = 6, 4, 256
NOT_ALONE = {
    "ffn": "its neurons are used elsewhere in the model, or the code holds their number",
    "attention": "its heads are used elsewhere in the model, as by a bias for each, or the code holds their number",
}


def prove(model: nn.Module, group: Candidate, owner: str, example: Mapping[str, Tensor]) -> tuple[dict[str, str], str]:
    """Attribute edits that the group needs, and "" or the reason why it cannot be changed.

    owner   a module that is called and holds the group; what cannot work there is not tried on the whole model.
    """
    try:
        return _proven(model, group, owner, example)
    except Exception as error:  # a stranger's model may raise anything
        logger.debug("cannot cut %s", group, exc_info=True)
        return {}, f"no unit can be cut out of it ({_first_line(error)})"


def _proven(
    model: nn.Module, group: Candidate, owner: str, example: Mapping[str, Tensor]
) -> tuple[dict[str, str], str]:
    modules, masked, sizes = _cut(model, group)
    proof = _Proof(model, modules, masked)
    reason = proof.compare({}, lambda: call(model, example))
    if not reason:
        return {}, ""
    recorded = record(model, [owner], example)[owner]
    alone = _replays(model, owner, recorded)
    most = 0
    for edits in islice(_edits(model, group), MOST_TRIED):
        values = {path: sizes[size] for path, size in edits.items()}
        # Most sets fail, and in the part alone that costs little.
        wrong = proof.compare(values, lambda: _again(model, owner, recorded)) if alone else ""
        wrong = wrong or proof.compare(values, lambda: call(model, example))
        if not wrong:
            return dict(edits), ""
        if len(edits) > most:  # what is wrong although every attribute follows says the most
            most, reason = len(edits), wrong
    return {}, f"{NOT_ALONE[group.kind]} ({reason})"


class _Proof:
    """Compares the model with a unit cut out to the model with the unit masked out."""

    def __init__(self, model: nn.Module, cut: Mapping[str, nn.Module], masked: Mapping[str, nn.Module]) -> None:
        self._model, self._cut, self._masked = model, cut, masked

    def compare(self, attributes: Mapping[str, int], run: Callable[[], Any]) -> str:
        """ "" when cut and mask agree, else what is wrong, in words."""
        with torch.no_grad():
            with installed(self._model, self._masked, {}):
                masked = main_output(run())
            try:
                with installed(self._model, self._cut, attributes):
                    cut = main_output(run())
            except Exception as error:  # cutting what the model reshapes elsewhere raises whatever that raises
                logger.debug("cutting with %s", attributes, exc_info=True)
                return _first_line(error)
        same = cut.shape == masked.shape and torch.allclose(cut, masked, rtol=1e-3, atol=1e-4)
        return "" if same else "one that is cut out and one that is masked out give different outputs"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def _replays(model: nn.Module, owner: str, recorded: Recorded) -> bool:
    """Whether the owner alone gives what it gave inside the model, time and again: a cache in its inputs may grow."""
    before = main_output(recorded.output)
    try:
        with torch.no_grad():
            again = [main_output(_again(model, owner, recorded)) for _ in range(2)]
    except Exception:
        logger.debug("%s does not run alone", owner, exc_info=True)
        return False
    return all(one.shape == before.shape and torch.allclose(one, before, rtol=1e-3, atol=1e-4) for one in again)


def _again(model: nn.Module, owner: str, recorded: Recorded) -> Any:
    """Run the owner on what it was called with; it may change its input in place."""
    args, kwargs = tree_map_only(Tensor, Tensor.clone, (recorded.args, dict(recorded.kwargs)))
    return model.get_submodule(owner)(*args, **kwargs)


def _cut(model: nn.Module, group: Candidate) -> tuple[dict[str, nn.Module], dict[str, nn.Module], dict[str, int]]:
    """The modules without the first unit (neuron, or kv head with its q heads); the exit with its columns at zero; the
    new sizes."""
    sizes = dict(group.sizes)
    exit_role = "down" if group.kind == "ffn" else "out"
    units = sizes["width"] if group.kind == "ffn" else sizes["kv_heads"]
    gone: dict[str, list[int]] = {}
    for name, role in group.roles.items():
        if name != exit_role:
            rows = role.rows()
            gone.setdefault(role.fqn, []).extend(rows[: len(rows) // units])
    if group.kind == "ffn":
        sizes["width"] -= 1
    else:
        repeat, head_dim = sizes["heads"] // units, sizes["head_dim"]
        sizes |= {"heads": sizes["heads"] - repeat, "kv_heads": units - 1}
        sizes |= {"inner": sizes["heads"] * head_dim, "kv_inner": sizes["kv_heads"] * head_dim}
    cut = {fqn: _without(model.get_submodule(fqn), rows) for fqn, rows in gone.items()}
    last: Role = group.roles[exit_role]
    dense = model.get_submodule(last.fqn)
    weight = weight_of(dense)
    columns = weight.shape[1] // units
    masked = weight.clone()
    masked[:, :columns] = 0
    cut[last.fqn] = make_linear(weight[:, columns:], bias_of(dense))
    return cut, {last.fqn: make_linear(masked, bias_of(dense))}, sizes


def _without(linear: nn.Module, rows: Iterable[int]) -> nn.Module:
    bias = bias_of(linear)
    kept = torch.ones(weight_of(linear).shape[0], dtype=torch.bool)
    kept[list(rows)] = False
    return make_linear(weight_of(linear)[kept], None if bias is None else bias[kept])


def _edits(model: nn.Module, group: Candidate) -> Iterator[dict[str, str]]:
    """Sets of attribute edits to try: none, then larger and larger ones of those that match; then with a config."""
    sizes = dict(group.sizes)
    if group.kind == "attention":
        inner, kv_inner = sizes["heads"] * sizes["head_dim"], sizes["kv_heads"] * sizes["head_dim"]
        sizes = {"heads": sizes["heads"], "kv_heads": sizes["kv_heads"], "inner": inner, "kv_inner": kv_inner}
    own: dict[str, str] = {}
    config: dict[str, str] = {}
    for owner in dict.fromkeys(fqn.rpartition(".")[0] for fqn in group.members):
        for name, value in vars(model.get_submodule(owner)).items():
            path = f"{owner}.{name}" if owner else name
            if type(value) is int:
                own |= _matching({path: value}, sizes)
            elif hasattr(value, "__dict__") and not callable(value) and not isinstance(value, Tensor):
                config |= _matching({f"{path}.{key}": inner for key, inner in vars(value).items()}, sizes)
    inside = list(_subsets(dict(list(own.items())[:MOST_ATTRIBUTES])))
    yield from inside
    for more in _subsets(dict(list(config.items())[:MOST_CONFIG])):
        yield from ({**edits, **more} for edits in inside if more)


def _matching(attributes: Mapping[str, object], sizes: Mapping[str, int]) -> dict[str, str]:
    """Path to the size that an integer equals, of those that equal one."""
    return {
        path: next(name for name, size in sizes.items() if size == value)
        for path, value in attributes.items()
        if type(value) is int and value in sizes.values()
    }


def _subsets(found: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """None of them, then larger and larger sets: one too many may equal a size by chance, and hardly show."""
    for count in range(len(found) + 1):
        for chosen in combinations(found, count):
            yield {path: found[path] for path in chosen}
