"""Small layers of every kind with their calibration statistics, to try techniques on.

>>> from autocompress.testing.groups import all_cases
>>> [case.name for case in all_cases(kinds=("embedding",))]
['embedding']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autocompress.basics.process_state import clean_state
from autocompress.contracts.linears import is_linear, weight_of
from autocompress.contracts.technique import Calibration, Group, Replacement, Statistics
from autocompress.core.layer import Layer, Role
from autocompress.testing.modules import Attention, Ffn, FusedFfn, InterleavedAttention, One

HIDDEN, WIDTH, HEADS, HEAD_DIM = 64, 128, 4, 16
ROWS, TOKENS, WORDS = 16, 24, 50


@dataclass(frozen=True)
class Case:
    """One layer inside a small module that runs.

    owner         holds the layer and nothing else.
    group         the layer's modules by role, and the layer as core describes it.
    calibration   role to the statistics of its input.
    inputs        what the owner is called with: (ROWS, TOKENS, HIDDEN), or ids for an embedding.
    """

    name: str
    owner: nn.Module
    group: Group
    calibration: Calibration
    inputs: Tensor

    def dense(self) -> Tensor:
        """The owner's output as it is."""
        return _run(self.owner, self.inputs)

    def run(self, replacement: Replacement) -> Tensor:
        """The owner's output with the replacement in place; the owner itself stays as it is."""
        return _run(installed(self.owner, self.group.layer, replacement), self.inputs)

    def copy(self) -> Case:
        """The same case with modules of its own."""
        return _case(self.name, deepcopy(self.owner), self.group.layer, self.inputs)

    def meta(self) -> Group:
        """The group on the meta device: shapes without weights."""
        return _group(deepcopy(self.owner).to("meta"), self.group.layer)


@clean_state()
def all_cases(kinds: tuple[str, ...] | None = None) -> tuple[Case, ...]:
    """Every case, or those of some kinds: linears with and without bias and transposed, plain, gated
    and fused ffn, multi-head, grouped-query, fused and interleaved attention, and an embedding."""
    built = [make() for make in _MAKERS]
    return tuple(case for case in built if kinds is None or case.group.layer.kind in kinds)


def installed(owner: nn.Module, layer: Layer, replacement: Replacement) -> nn.Module:
    """A copy of the owner with the replacement's modules and sizes in their places."""
    copy = deepcopy(owner)
    for role, module in replacement.modules.items():
        parent, _, name = layer.roles[role].fqn.rpartition(".")
        setattr(copy.get_submodule(parent), name, module)
    for path, size in layer.edits.items():
        if size in replacement.sizes:
            setattr(copy, path, replacement.sizes[size])
    return copy.eval()


def narrowed(case: Case, features: int) -> Case:
    """A linear case whose linear an earlier stage cut to its first input features; the layer is as it was."""
    role, linear = next(iter(case.group.modules.items()))
    cut = nn.Linear(features, weight_of(linear).shape[0], bias=getattr(linear, "bias", None) is not None)
    with torch.no_grad():
        cut.weight.copy_(weight_of(linear)[:, :features])
        if cut.bias is not None:
            cut.bias.copy_(linear.get_parameter("bias"))
    owner = installed(case.owner, case.group.layer, Replacement({role: cut}))
    return _case(f"{case.name}-cut", owner, case.group.layer, case.inputs[..., :features])


def statistics_of(x: Tensor) -> Statistics:
    """The statistics of one linear's input. x: (..., features)."""
    rows = x.reshape(-1, x.shape[-1]).double()
    mean = rows.mean(0)
    return Statistics((rows - mean).T @ (rows - mean) / len(rows), mean, len(rows))


def correlated(features: int, *, seed: int) -> Tensor:
    """(ROWS, TOKENS, features): features of unequal size that move together about a mean, as real activations do."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features // 4, features, generator=generator)
    size = torch.rand(features, generator=generator) + 0.2
    noise = torch.randn(ROWS, TOKENS, features, generator=generator)
    hidden = torch.randn(ROWS, TOKENS, features // 4, generator=generator)
    return (hidden @ mix * 0.3 + noise * 0.3) * size + 0.5 * torch.randn(features, generator=generator)


def _linear(name: str, make: Callable[[], nn.Module]) -> Case:
    owner = _seeded(lambda: One("linear", make()), 1)
    rows, columns = weight_of(owner.get_submodule("linear")).shape
    roles = {"linear": Role("linear", 0, rows)}
    layer = Layer("linear", "linear", "linear", roles, {"linear": (rows, columns)}, rows * columns)
    return _case(name, owner, layer, correlated(columns, seed=2))


def _conv1d() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    module: nn.Module = Conv1D(WIDTH, HIDDEN)
    return module


def _ffn(name: str, *, gated: bool) -> Case:
    owner = _seeded(lambda: Ffn(HIDDEN, WIDTH, gated=gated), 3)
    names = (["gate"] if gated else []) + ["up", "down"]
    return _case(name, owner, _layer(owner, "ffn", {n: Role(n, *_rows(owner, n)) for n in names}, {"width": WIDTH}))


def _attention(name: str, kv_heads: int) -> Case:
    owner = _seeded(lambda: Attention(HIDDEN, HEADS, kv_heads, HEAD_DIM), 4)
    roles = {n: Role(n, *_rows(owner, n)) for n in ("q", "k", "v", "out")}
    return _case(name, owner, _layer(owner, "attention", roles, _head_sizes(kv_heads), _EDITS))


def _fused() -> Case:
    inner = HEADS * HEAD_DIM

    def make() -> nn.Module:
        from transformers.pytorch_utils import Conv1D

        return Attention(HIDDEN, HEADS, HEADS, HEAD_DIM, fused=Conv1D(3 * inner, HIDDEN))

    owner = _seeded(make, 5)
    roles = {role: Role("fused", i * inner, (i + 1) * inner) for i, role in enumerate("qkv")}
    roles["out"] = Role("out", *_rows(owner, "out"))
    return _case("fused-attention", owner, _layer(owner, "attention", roles, _head_sizes(HEADS), _EDITS))


def _fused_ffn(name: str, *, interleaved: bool) -> Case:
    owner = _seeded(lambda: FusedFfn(HIDDEN, WIDTH, interleaved=interleaved), 3)
    gate, up = Role("fused", 0, WIDTH), Role("fused", WIDTH, 2 * WIDTH)
    if interleaved:
        gate, up = Role("fused", 0, 2 * WIDTH - 1, size=1, stride=2), Role("fused", 1, 2 * WIDTH, size=1, stride=2)
    roles = {"gate": gate, "up": up, "down": Role("down", *_rows(owner, "down"))}
    return _case(name, owner, _layer(owner, "ffn", roles, {"width": WIDTH}))


def _interleaved() -> Case:
    kv_heads = HEADS // 2
    owner = _seeded(lambda: InterleavedAttention(HIDDEN, HEADS, kv_heads, HEAD_DIM), 5)
    unit, last = 4 * HEAD_DIM, 4 * HEAD_DIM * (kv_heads - 1)
    roles = {}
    for role, start, size in (("q", 0, 2 * HEAD_DIM), ("k", 2 * HEAD_DIM, HEAD_DIM), ("v", 3 * HEAD_DIM, HEAD_DIM)):
        roles[role] = Role("fused", start, last + start + size, size=size, stride=unit)
    roles["out"] = Role("out", *_rows(owner, "out"))
    return _case("attention-interleaved", owner, _layer(owner, "attention", roles, _head_sizes(kv_heads), _EDITS))


def _embedding() -> Case:
    owner = _seeded(lambda: One("embedding", nn.Embedding(WORDS, HIDDEN, padding_idx=0)), 6)
    roles = {"embedding": Role("embedding", 0, WORDS)}
    layer = Layer("embedding", "embedding", "embedding", roles, {"embedding": (WORDS, HIDDEN)}, WORDS * HIDDEN)
    ids = torch.randint(WORDS, (ROWS, TOKENS), generator=torch.Generator().manual_seed(7))
    return _case("embedding", owner, layer, ids)


_EDITS = {"heads": "heads", "kv_heads": "kv_heads"}
_MAKERS: tuple[Callable[[], Case], ...] = (
    lambda: _linear("linear", lambda: nn.Linear(HIDDEN, WIDTH)),
    lambda: _linear("linear-wide-input", lambda: nn.Linear(WIDTH, HIDDEN)),
    lambda: _linear("linear-no-bias", lambda: nn.Linear(HIDDEN, HIDDEN, bias=False)),
    lambda: _linear("linear-transposed", _conv1d),
    lambda: _ffn("ffn", gated=False),
    lambda: _ffn("ffn-gated", gated=True),
    lambda: _fused_ffn("ffn-fused", interleaved=False),
    lambda: _fused_ffn("ffn-interleaved", interleaved=True),
    lambda: _attention("attention", HEADS),
    lambda: _attention("attention-grouped-query", HEADS // 2),
    _fused,
    _interleaved,
    _embedding,
)


def _head_sizes(kv_heads: int) -> dict[str, int]:
    return {"heads": HEADS, "kv_heads": kv_heads, "head_dim": HEAD_DIM}


def _layer(
    owner: nn.Module,
    kind: str,
    roles: Mapping[str, Role],
    sizes: Mapping[str, int],
    edits: Mapping[str, str] | None = None,
) -> Layer:
    shapes = {}
    for role, at in roles.items():
        rows, columns = weight_of(owner.get_submodule(at.fqn)).shape
        shapes[role] = (rows, columns)
    n_params = sum(p.numel() for p in owner.parameters())
    return Layer(f":{kind}", kind, "", roles, shapes, n_params, sizes=sizes, edits=edits or {})


def _case(name: str, owner: nn.Module, layer: Layer, inputs: Tensor | None = None) -> Case:
    owner = owner.eval().requires_grad_(False)
    inputs = correlated(HIDDEN, seed=8) if inputs is None else inputs
    seen: dict[str, Statistics] = {}
    handles = []
    for role, at in layer.roles.items():
        module = owner.get_submodule(at.fqn)
        if is_linear(module):
            hook = _remember(seen, role)
            handles.append(module.register_forward_pre_hook(hook))
    _run(owner, inputs)
    for handle in handles:
        handle.remove()
    return Case(name, owner, _group(owner, layer), seen, inputs)


def _remember(seen: dict[str, Statistics], role: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[role] = statistics_of(args[0])

    return hook


def _group(owner: nn.Module, layer: Layer) -> Group:
    return Group(layer, {role: owner.get_submodule(at.fqn) for role, at in layer.roles.items()})


def _rows(owner: nn.Module, name: str) -> tuple[int, int]:
    return 0, int(weight_of(owner.get_submodule(name)).shape[0])


def _run(owner: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = owner(inputs)
    return answer


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
