"""Small real modules that hold one layer each: what a technique's answer is put into and run with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autocompress.contracts.precision import Precision, QuantizedLinear


class One(nn.Module):
    """A single linear or embedding, under the name of its kind."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.get_submodule(self.name)(x)
        return answer


class Int8Reference(nn.Module):
    """An int8 linear in plain torch, without a kernel: 8-bit activations in one range, or one for every row."""

    def __init__(self, linear: nn.Linear, activations: str) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.scale = nn.Parameter(weight.abs().amax(1) / 63, requires_grad=False)
        self.register_buffer("weight", (weight / self.scale[:, None]).round().to(torch.int8))
        self.register_buffer("bias", linear.bias.detach().clone())
        self.activations = activations

    def quantized(self) -> QuantizedLinear:
        precision = Precision("int8", "row", self.activations)
        return QuantizedLinear(precision, self.get_buffer("weight"), self.scale.detach(), self.get_buffer("bias"))

    def forward(self, x: Tensor) -> Tensor:
        peak = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) if self.activations == "token" else torch.ones(1)
        x = x / peak
        low, high = x.min().clamp_max(0.0), x.max().clamp_min(0.0)
        step = (high - low) / 255
        zero = (-low / step).round()
        rounded = ((x / step).round() + zero).clamp(0, 255) - zero
        product = functional.linear(rounded * step, self.get_buffer("weight") * self.scale[:, None])
        return product * peak + self.get_buffer("bias")


class Ffn(nn.Module):
    """``down(gelu(up(x)))``, or with a gate ``down(silu(gate(x)) * up(x))``."""

    def __init__(self, hidden: int, width: int, *, gated: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, width, bias=False) if gated else None
        self.up = nn.Linear(hidden, width, bias=not gated)
        self.down = nn.Linear(width, hidden, bias=not gated)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(self.up(x)) if self.gate is None else functional.silu(self.gate(x)) * self.up(x)
        answer: Tensor = self.down(inner)
        return answer


class FusedFfn(nn.Module):
    """The gated one with gate and up in one linear: its two halves, or every other feature each."""

    def __init__(self, hidden: int, width: int, *, interleaved: bool) -> None:
        super().__init__()
        self.interleaved = interleaved
        self.fused = nn.Linear(hidden, 2 * width)
        self.down = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        both = self.fused(x)
        gate, up = (both[..., ::2], both[..., 1::2]) if self.interleaved else both.chunk(2, dim=-1)
        answer: Tensor = self.down(functional.silu(gate) * up)
        return answer


class Attention(nn.Module):
    """Softmax attention; ``heads / kv_heads`` query heads share each key-value head, in runs.

    fused   a linear that yields q, k and v in one, or None for three linears.
    """

    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int, fused: nn.Module | None = None) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.fused = fused
        if fused is None:
            self.q = nn.Linear(hidden, heads * head_dim)
            self.k = nn.Linear(hidden, kv_heads * head_dim)
            self.v = nn.Linear(hidden, kv_heads * head_dim)
        self.out = nn.Linear(heads * head_dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, tokens, hidden). Returns the same shape."""
        q, k, v = (part.transpose(1, 2) for part in self.project(x))
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        weights = torch.softmax(q @ k.transpose(-1, -2) / self.head_dim**0.5, -1)
        answer: Tensor = self.out((weights @ v).transpose(1, 2).flatten(-2))
        return answer

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, k and v by heads: (rows, tokens, heads, head_dim)."""
        inner, kv_inner = self.heads * self.head_dim, self.kv_heads * self.head_dim
        parts = (
            (self.q(x), self.k(x), self.v(x))
            if self.fused is None
            else self.fused(x).split([inner, kv_inner, kv_inner], -1)
        )
        return tuple(part.unflatten(-1, (-1, self.head_dim)) for part in parts)


class InterleavedAttention(Attention):
    """With one linear that yields, for every key-value head, its query heads, its key and its value side by side."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int) -> None:
        fused = nn.Linear(hidden, (heads + 2 * kv_heads) * head_dim)
        super().__init__(hidden, heads, kv_heads, head_dim, fused)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        repeat = self.heads // self.kv_heads
        assert self.fused is not None
        units = self.fused(x).unflatten(-1, (self.kv_heads, repeat + 2, self.head_dim))
        return units[..., :repeat, :].flatten(-3, -2), units[..., repeat, :], units[..., repeat + 1, :]
