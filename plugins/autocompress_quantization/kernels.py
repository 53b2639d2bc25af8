"""Which real kernels a target has: the one place where this plugin decides what may be offered."""

from __future__ import annotations

from collections.abc import Set
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from autocompress.target import Target

if TYPE_CHECKING:
    pass

VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
CPU_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
TENSOR, TOKEN = "tensor", "token"
"""How an int8 linear quantises its input: with one range, or with one for every row."""
RUNTIME = "torch"  # the runtime that runs these modules as they are


class Int8Kernel(NamedTuple):
    """An engine of ``torch.backends.quantized`` and whether its activations must stay within seven bits."""

    engine: str
    reduce_range: bool


def int8_kernel(flags: Set[str]) -> Int8Kernel | None:
    """The kernel for dynamic int8 linears on a CPU with these flags, or None.

    With VNNI the products are summed in 32 bits, so the full range is safe; older CPUs saturate 16 bits.
    """
    import torch

    engines = torch.backends.quantized.supported_engines
    if flags & VNNI and "onednn" in engines:
        return Int8Kernel("onednn", False)
    return Int8Kernel("fbgemm", True) if "avx2" in flags and "fbgemm" in engines else None


@cache
def machine_flags() -> frozenset[str]:
    """The instruction-set flags of the machine that this process runs on."""
    import torch

    return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)


def offers_int8(target: Target) -> bool:
    """Whether int8 linears run on this target with a kernel of their own."""
    here = target.device == "cpu" and target.runtime == RUNTIME
    return here and int8_kernel(target.flags or machine_flags()) is not None


def offers_rows(target: Target) -> bool:
    """Whether int8 embedding rows do: a gather and a product, which every CPU has."""
    return target.device == "cpu" and target.runtime == RUNTIME


def offered_dtypes(target: Target) -> tuple[str, ...]:
    """The half-precision types whose matrix products are native on this target."""
    if target.runtime != RUNTIME:
        return ()
    if target.device == "cuda":
        return ("bfloat16", "float16")
    flags = target.flags or machine_flags()
    return ("bfloat16",) if target.device == "cpu" and flags & CPU_BF16 else ()
