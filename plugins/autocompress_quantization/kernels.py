"""Which real kernels a target has: the one place where this plugin decides what may be offered."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from autocompress.plugin import Target, usable_flags

VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
CPU_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
TENSOR, TOKEN = "tensor", "token"
"""How an int8 linear quantises its input: with one range, or with one for every row."""
FULL = 127
SAFE = (2**15 - 1) // (2 * 255)
"""64: the largest weight of which two, times the largest activations, still sum up within 16 bits (7 bits and 1)."""


class Int8Kernel(NamedTuple):
    """An engine of ``torch.backends.quantized`` and the largest weight (in int8 steps) that it multiplies exactly."""

    engine: str
    levels: int


def int8_kernel(flags: Set[str]) -> Int8Kernel | None:
    """The kernel for dynamic int8 linears on a CPU with these flags, or None.

    With VNNI products are summed in 32 bits and weights may fill 8 bits. Older CPUs sum pairs of products in 16 bits,
    which saturate; there the weights give up a bit: they are scaled per row, while the activations share one range.
    """
    import torch

    engines = torch.backends.quantized.supported_engines
    if flags & VNNI and "onednn" in engines:
        return Int8Kernel("onednn", FULL)
    return Int8Kernel("fbgemm", SAFE) if "avx2" in flags and "fbgemm" in engines else None


def kernel_here() -> Int8Kernel | None:
    """The kernel for dynamic int8 linears on the machine that this process runs on, or None."""
    return int8_kernel(machine_flags())


def machine_flags() -> frozenset[str]:
    """The instruction-set flags of this machine that its libraries are let to use."""
    import torch

    return usable_flags(name for name, value in torch.cpu.get_capabilities().items() if value is True)


def offers_int8(target: Target) -> bool:
    """Whether int8 linears run on this target with a kernel of their own."""
    return target.device == "cpu" and int8_kernel(target.flags or machine_flags()) is not None


def offers_rows(target: Target) -> bool:
    """Whether int8 embedding rows do: a gather and a product, which every CPU has."""
    return target.device == "cpu"


def offered_dtypes(target: Target) -> tuple[str, ...]:
    """The half-precision types whose matrix products are native on this target."""
    if target.device == "cuda":
        return ("bfloat16", "float16")
    flags = target.flags or machine_flags()
    return ("bfloat16",) if target.device == "cpu" and flags & CPU_BF16 else ()
