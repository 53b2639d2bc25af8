"""What a bound space cannot reach: parameters without an option, and budgets that arithmetic excludes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from autocompress.basics.units import format_value
from autocompress.compress import parts
from autocompress.contracts.linears import is_linear, weight_of
from autocompress.core.layer import Layer
from autocompress.core.objective import MAXIMIZE, Budget
from autocompress.core.policy import LayerPolicy
from autocompress.errors import BudgetError, TrialError
from autocompress.estimate.latency import option_bytes, shapes_after
from autocompress.pipeline.custom import Custom
from autocompress.pipeline.trials import weight_bytes
from autocompress.plugin.registry import Registry
from autocompress.request.setup import Setup
from autocompress.space.binding import Binding

ROUNDING = 1e-9
SHOWN = 4
"""Kinds of parameters out of reach that are named."""


def out_of_reach_line(model: nn.Module, binding: Binding) -> str:
    """How much of the model no option touches, by the modules that hold it: the same tensor counts once."""
    offering = [slot for slot in binding.slots if len(slot.options) > 1]
    covered = {name for slot in offering for layer in slot.layers for name in (*layer.modules, *layer.tied)}
    kinds: dict[str, int] = {}
    whole, seen = 0, set[int]()
    for fqn, module, name, tensor in _parameters(model):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        whole += tensor.numel()
        if not any(not one or fqn == one or fqn.startswith(one + ".") for one in covered):
            kind = _kind(module, name, tensor)
            kinds[kind] = kinds.get(kind, 0) + tensor.numel()
    left = sum(kinds.values())
    if not left:
        return "every parameter has an option"
    order = sorted(kinds.items(), key=lambda item: -item[1])
    words = [f"{kind} {_percent(count, whole)}" for kind, count in order[:SHOWN]]
    if len(order) > SHOWN:
        words.append(f"{len(order) - SHOWN} others {_percent(sum(count for _, count in order[SHOWN:]), whole)}")
    return f"{_percent(left, whole)} of the parameters have no option: {', '.join(words)}"


def refuse_excluded(setup: Setup, binding: Binding, custom: Custom) -> None:
    """Raises BudgetError for a budget that even the smallest choice of every option breaks."""
    whole = float(weight_bytes(setup.model))
    for budget in setup.names.budgets:
        name = budget.objective.name
        if name == "size":
            _refuse(budget, least_bytes(setup.model, binding, setup.layers, setup.registry), whole)
        elif name in custom.least:
            _refuse(budget, custom.least[name], custom.dense[name])


def least_bytes(model: nn.Module, binding: Binding, layers: Sequence[Layer], registry: Registry) -> float:
    """A bound that no policy is below: every module at its smallest, whatever the others are."""
    shapes = _shapes(model, binding, layers, registry)
    options: dict[str, tuple[Layer, tuple[LayerPolicy, ...]]] = {}
    for slot in binding.slots:
        if slot.layers[0].kind == "block":
            return 0.0  # what is left of a block is known to its technique alone
        options |= {layer.fqn: (layer, slot.options) for layer in slot.layers if not slot.structural}
    known: dict[str, int] = {}
    seen, least, dense = set[int](), 0, 0
    for fqn in dict.fromkeys([*shapes, *options]):
        module = model.get_submodule(fqn)
        tensors = {tensor.data_ptr(): tensor.nbytes for tensor in module.state_dict().values()}
        if seen & tensors.keys():
            continue  # tied to one that was counted
        seen |= tensors.keys()
        dense += sum(tensors.values())
        layer, offered = options.get(fqn, (None, ()))
        own = weight_of(module) if is_linear(module) else module.get_parameter("weight")
        sizes = []
        for shape in shapes.get(fqn, {(own.shape[0], own.shape[1])}):
            rows, columns = shape
            bias = rows if getattr(module, "bias", None) is not None else 0
            sizes.append((rows * columns + bias) * own.element_size())
            for option in offered if layer is not None else ():
                key = f"{type(module).__name__} {shape} {own.dtype} {bias} {option.label()}"
                if key not in known:
                    assert layer is not None
                    known[key] = _option_bytes(module, layer, shape, option, registry)
                sizes.append(known[key])
        least += min(sizes)
    return float(weight_bytes(model) - dense + least)


def _shapes(
    model: nn.Module, binding: Binding, layers: Sequence[Layer], registry: Registry
) -> dict[str, set[tuple[int, int]]]:
    """Linear name to every weight shape that a structure can leave it."""
    part_of, members = parts(layers), dict[str, list[Layer]]()
    for layer in layers:
        members.setdefault(part_of[layer.fqn], []).append(layer)
    found: dict[str, set[tuple[int, int]]] = {}
    for slot in binding.slots:
        for layer in slot.layers if slot.structural and slot.layers[0].kind != "block" else ():
            for option in slot.options:
                try:
                    after = shapes_after(model, layer, option, members[part_of[layer.fqn]], registry)
                except TrialError:
                    continue  # told when the option is priced
                for fqn, shape in after.items():
                    found.setdefault(fqn, set()).add(shape)
    return found


def _option_bytes(
    module: nn.Module, layer: Layer, shape: tuple[int, int], option: LayerPolicy, registry: Registry
) -> int:
    found = option_bytes(module, layer, shape, option, registry)
    return sys.maxsize if found is None else found


def _refuse(budget: Budget, least: float, dense: float) -> None:
    """``least`` and ``dense`` in what the engine minimises."""
    sign = -1.0 if budget.objective.direction == MAXIMIZE else 1.0
    limit = sign * budget.limit * (sign * dense if budget.relative else 1.0)
    if math.isfinite(least) and least > limit + ROUNDING * abs(limit):
        unit, what = budget.objective.unit, "most" if sign < 0 else "least"
        raise BudgetError(
            f"budget {budget.describe()!r} is out of reach: the {what} that this space can reach is "
            f"{format_value(sign * least, unit)} ({_percent(least, dense)} of the dense model's "
            f"{format_value(sign * dense, unit)}), the limit is {format_value(sign * limit, unit)}; "
            "give a wider space or another limit."
        )


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Name of the module, the module, name within it, parameter."""
    for fqn, module in model.named_modules():
        for name, tensor in module.named_parameters(recurse=False):
            yield fqn, module, name, tensor


def _kind(module: nn.Module, name: str, tensor: Tensor) -> str:
    """What holds a parameter, in words: its module's class, and more where the parameter is no plain weight."""
    kind = type(module).__name__
    if name.startswith("in_proj"):
        return f"{kind} (in_proj)"
    if tensor.ndim == 3 and not isinstance(module, nn.modules.conv._ConvNd):
        return f"{kind} (3-D weights)"
    return kind


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
