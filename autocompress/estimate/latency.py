"""What an option costs on the target: timed with its real kernel at the model's real shapes, and its bytes.

One table entry per unique (module shape, input shape, option), timed in turns with the dense module of the same layer,
both as the runtime runs them: where it has kernels of its own, not by calling torch modules.
Entries are made at different moments of a machine whose speed drifts, so seconds are not taken from them: the dense
modules are timed once more in turns with the whole model, and every option is that share of the model's time, divided
by its speed-up. Values do not matter to these kernels: structures are built without weights and filled with numbers.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.compress import build_layers
from autocompress.contracts.linears import bias_of, empty_linear, is_linear, weight_of
from autocompress.core.layer import Layer, Role
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.core.target import Target
from autocompress.errors import TrialError, cause_of
from autocompress.measure.latency import time_interleaved
from autocompress.measure.lock import device_lock
from autocompress.plugin.registry import Registry
from autocompress.structure import Recorded
from autocompress.structure.modules import installed
from autocompress.structure.nested import tensors

logger = logging.getLogger(__name__)
Memo = Callable[[str, Callable[[], Any]], Any]
"""Stored value of a key, or what the function measures (`Store.memo`)."""

Dense = tuple[nn.Module, tuple[int, int] | None, Recorded]
ROUNDS, SECONDS = 40, 1.0
FITS = 2**20
"""Bytes of a model that stays in the caches whole: its layers need no copies to go through."""
MOST_COPIES = 32
"""Of one layer: more of a small one take long to build. What they would change of its time was not measured."""
CACHE = 32 * 2**20
"""Bytes of dense weights to go through: a quarter of it, as int8, is more than the caches of two cores hold."""


@dataclass(frozen=True)
class Cost:
    """One entry: bytes of an option, and its speed-up over the dense module with a 95 % interval.

    seconds   as timed for this entry alone; comparable within one entry's session only.
    """

    seconds: float
    bytes: int
    speedup: float
    low: float
    high: float


class CostTable:
    """Times options on the target and remembers every entry under a key that says all it depends on.

    ``refused`` maps options that cannot be built or do not run here to the cause.
    kernels, model   what the target, and what the model with its timed input, are known by in keys.
    weights          bytes of the model's weights: what the caches see between two calls of one layer.
    whole            runs the dense model's program on the timed input.
    """

    def __init__(
        self,
        registry: Registry,
        target: Target,
        memo: Memo,
        kernels: str,
        model: str,
        weights: int,
        whole: Callable[[], object],
    ) -> None:
        self._registry, self._target, self._memo = registry, target, memo
        self._kernels, self._of_model, self._weights, self._whole = kernels, model, weights, whole
        self._runtime = registry.runtime(target.runtime)
        self.refused: dict[str, str] = {}

    def modules(
        self, layer: Layer, dense: nn.Module, shape: tuple[int, int], recorded: Recorded, options: Sequence[LayerPolicy]
    ) -> dict[str, Cost]:
        """Option label to cost, for one linear or embedding.

        shape      the weight's shape when a structural change made it smaller, else its own.
        recorded   a call of the dense module; its input shape is what is timed.
        Options that cannot be built at this shape are left out.
        """
        example = _given(recorded)
        given = (*example.shape[:-1], shape[1]) if is_linear(dense) else tuple(example.shape)
        what = [layer.kind, list(shape), list(given), str(example.dtype), getattr(dense, "bias", None) is not None]
        what.append(copies := self._copies(dense, shape))
        key = f"kernel/{self._kernels}/{_digest([what, [option.label() for option in options]])}"

        def measure() -> dict[str, Any]:
            x, base = _input(dense, shape, recorded), _resized(dense, shape)
            sizes: dict[str, int] = {}

            def first(option: LayerPolicy) -> Callable[[], object]:
                module = _build(base, layer, option, self._registry)
                rotation = self._rotation([module, *(deepcopy(module) for _ in range(copies - 1))], x)
                sizes[option.label()] = _bytes(module)
                return rotation

            calls, refused = _built(options, first)
            return _entries(self._time(calls), sizes, refused)

        return self._costs(layer, self._memo(key, measure))

    def structures(
        self,
        model: nn.Module,
        layer: Layer,
        members: Sequence[Layer],
        recorded: Recorded,
        options: Sequence[LayerPolicy],
    ) -> dict[str, Cost]:
        """Option label to cost of the whole owner of a group (``bytes`` are those of the group's own modules)."""
        owner = model.get_submodule(layer.owner)
        what = [layer.kind, type(owner).__name__, {r: list(s) for r, s in layer.shapes.items()}, dict(layer.sizes)]
        given = _shape_of(recorded)
        key = f"structure/{self._kernels}/{_digest([what, given, [option.label() for option in options]])}"

        def measure() -> dict[str, Any]:
            sizes: dict[str, int] = {}

            def first(option: LayerPolicy) -> Callable[[], object]:
                changes = build_layers(model, Policy({layer.fqn: option}), members, self._registry)
                for module in changes.modules.values():
                    fill_(module)
                with installed(model, changes.modules, changes.attributes):
                    own = self._runtime.time_module(owner, recorded.args, recorded.kwargs, target=self._target)
                run = own or _owner_caller(model, owner, changes.modules, changes.attributes, recorded)
                with torch.inference_mode():
                    run()
                now = {fqn: changes.modules.get(fqn, model.get_submodule(fqn)) for fqn in layer.modules}
                sizes[option.label()] = sum(_bytes(module) for module in now.values())
                return run

            calls, refused = _built(options, first)
            return _entries(self._time(calls), sizes, refused)

        return self._costs(layer, self._memo(key, measure))

    def _costs(self, layer: Layer, entry: Mapping[str, Any]) -> dict[str, Cost]:
        self.refused |= {f"{label} on {layer.fqn}": cause for label, cause in entry["refused"].items()}
        return {label: Cost(**one) for label, one in entry["costs"].items()}

    def shares(self, dense: Mapping[str, Dense]) -> dict[str, float]:
        """Name to the module's time as a share of the whole model's, all timed in turns.

        dense   name to (module, shape or None, a recorded call): None times the module itself on that call.
        """
        what = {
            name: [list(shape) if shape else [], _shape_of(recorded)] for name, (_, shape, recorded) in dense.items()
        }
        key = f"shares/{self._of_model}/{_digest(what)}"

        def measure() -> dict[str, float]:
            calls: dict[str, Callable[[], object]] = {"": self._whole}
            for name, (module, shape, recorded) in dense.items():
                if shape is None:
                    calls[name] = self._caller(module, recorded)
                else:
                    copies = [_resized(module, shape) for _ in range(self._copies(module, shape))]
                    calls[name] = self._rotation(copies, _input(module, shape, recorded))
            with torch.inference_mode():
                self._whole()  # some programs are built at their first call
            times = self._time(calls, seconds=4 * SECONDS)
            whole = times.pop("")
            return {
                name: median(own / base for own, base in zip(samples, whole, strict=True))
                for name, samples in times.items()
            }

        found: dict[str, float] = self._memo(key, measure)
        return found

    def _copies(self, dense: nn.Module, shape: tuple[int, int]) -> int:
        """As many copies as weigh what the model weighs; a power of two, so that models of a kind share entries."""
        if self._weights < FITS:
            return 1
        size = max(1, shape[0] * shape[1] * weight_of(dense).element_size())
        return min(MOST_COPIES, 1 << max(0, (min(self._weights, CACHE) // size).bit_length() - 1))

    def _caller(self, module: nn.Module, recorded: Recorded) -> Callable[[], object]:
        """Runs one module on a recorded call, in the runtime."""
        own = self._runtime.time_module(module, recorded.args, recorded.kwargs, target=self._target)
        return own or (lambda: recorded.run(module))

    def _rotation(self, modules: Sequence[nn.Module], x: Tensor) -> Callable[[], object]:
        """Calls the copies in turn: in a whole model a layer finds the weights of others in the caches, not its own.

        Every option gets as many copies as the dense layer, so that a small one finds as much in the caches as it would
        in a model that is small throughout. Each has run before: kernels arrange their weights at the first call.
        """
        calls = [self._caller(module, Recorded((x,), {}, None)) for module in modules]
        with torch.inference_mode():
            for call in calls:
                call()
        turn = cycle(calls)
        return lambda: next(turn)()

    def _time(self, calls: Mapping[str, Callable[[], object]], *, seconds: float = SECONDS) -> dict[str, list[float]]:
        with device_lock(self._target.device), torch.inference_mode():
            return time_interleaved(
                calls, device=self._target.device, rounds=ROUNDS, seconds=seconds, minimum=7, warmup=0.1
            )


def shapes_after(
    model: nn.Module, layer: Layer, option: LayerPolicy, members: Sequence[Layer], registry: Registry
) -> dict[str, tuple[int, int]]:
    """Linear name to its weight shape once a group's structural option is applied."""
    changes = build_layers(model, Policy({layer.fqn: option}), members, registry)
    shapes = {}
    for fqn in layer.modules:
        rows, columns = weight_of(changes.modules.get(fqn, model.get_submodule(fqn))).shape
        shapes[fqn] = (int(rows), int(columns))
    return shapes


def fill_(module: nn.Module) -> None:
    """Give an empty structure plain positive numbers, in place: no denormals, no NaN, which would change its speed."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) * 0.02 + 0.01)
            elif tensor.dtype in (torch.int8, torch.uint8):
                tensor.random_(0, 60)  # within the seven bits that some kernels allow


def _built(
    options: Sequence[LayerPolicy], first: Callable[[LayerPolicy], Callable[[], object]]
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Option label to what calls it once it ran, and those that failed to their cause. The dense one must not."""
    calls, refused = {}, {}
    for option in options:
        try:
            calls[option.label()] = first(option)
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything: this option is not offered
            if not option.steps:
                raise
            refused[option.label()] = cause_of(error)
            logger.debug("refused %s", option.label(), exc_info=True)
    return calls, refused


def _build(base: nn.Module, layer: Layer, option: LayerPolicy, registry: Registry) -> nn.Module:
    """The option on one module, filled with numbers."""
    holder = nn.ModuleDict({"m": base})
    shape = tuple(weight_of(base).shape)
    only = Layer("m", layer.kind, "m", {layer.kind: Role("m", 0, shape[0])}, {layer.kind: shape}, layer.n_params)
    changes = build_layers(holder, Policy({"m": option}), [only], registry)
    built = changes.modules.get("m", base)
    fill_(built)
    return built.eval()


def _resized(dense: nn.Module, shape: tuple[int, int]) -> nn.Module:
    if is_linear(dense):
        base: nn.Module = empty_linear(shape[1], shape[0], bias=bias_of(dense) is not None, like=weight_of(dense))
    else:
        weight = weight_of(dense)
        base = nn.Embedding(*shape, device=weight.device, dtype=weight.dtype).requires_grad_(False)
    fill_(base)
    return base


def _input(dense: nn.Module, shape: tuple[int, int], recorded: Recorded) -> Tensor:
    """The recorded input, or one of its shape with as many features as a narrower linear reads."""
    example = _given(recorded)
    if not is_linear(dense) or example.shape[-1] == shape[1]:
        return example
    return torch.randn((*example.shape[:-1], shape[1]), device=example.device, dtype=example.dtype)


def _given(recorded: Recorded) -> Tensor:
    if recorded.input is None:
        raise TrialError("it is called without a tensor")
    return recorded.input


def _shape_of(recorded: Recorded) -> list[list[int]]:
    return [list(one.shape) for one in tensors([*recorded.args, *recorded.kwargs.values()])]


def _owner_caller(
    model: nn.Module,
    owner: nn.Module,
    modules: Mapping[str, nn.Module],
    attributes: Mapping[str, int],
    recorded: Recorded,
) -> Callable[[], object]:
    def run() -> object:
        with installed(model, modules, attributes):
            return recorded.run(owner)

    return run


def _entries(
    times: Mapping[str, Sequence[float]], sizes: Mapping[str, int], refused: Mapping[str, str]
) -> dict[str, Any]:
    """JSON-able entries; speed-ups are medians of per-round ratios, intervals from their order statistics."""
    dense = times["dense"]
    entries = {}
    for label, samples in times.items():
        ratios = sorted(base / own for base, own in zip(dense, samples, strict=True))
        reach = int(0.98 * len(ratios) ** 0.5) + 1
        middle = len(ratios) // 2
        entries[label] = {
            "seconds": median(samples),
            "bytes": sizes[label],
            "speedup": median(ratios),
            "low": ratios[max(0, middle - reach)],
            "high": ratios[min(len(ratios) - 1, middle + reach)],
        }
    return {"costs": entries, "refused": dict(refused)}


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def option_bytes(
    dense: nn.Module, layer: Layer, shape: tuple[int, int], option: LayerPolicy, registry: Registry
) -> int | None:
    """Bytes of an option of one module whose weight has this shape; None when it does not exist there."""
    built = _build(_resized(dense, shape), layer, option, registry)
    return None if built is None else _bytes(built)
