"""Instruction sets that torch's libraries are held back from, by the variables that those libraries read themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable

ISA = ("ATEN_CPU_CAPABILITY", "FBGEMM_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Of ATen's loops, of fbgemm, and of oneDNN by either name. Figures depend on them."""

VNNI = frozenset({"avx_vnni", "avx512_vnni"})
AMX = frozenset({"amx_tile", "amx_int8", "amx_bf16"})
ONEDNN = VNNI | AMX | {"avx512_bf16", "avx512_fp16", "amx_fp16"}
"""What kernels for low precision are chosen by, and oneDNN alone runs."""

_NONE: frozenset[str] = frozenset()
_FP16 = VNNI | {"avx512_bf16", "avx512_fp16"}
LIMITS = {
    **dict.fromkeys(("SSE41", "AVX", "AVX2", "AVX512_CORE"), _NONE),
    **dict.fromkeys(("AVX2_VNNI", "AVX2_VNNI_2"), frozenset({"avx_vnni"})),
    "AVX512_CORE_VNNI": frozenset({"avx512_vnni"}),
    "AVX512_CORE_BF16": frozenset({"avx512_vnni", "avx512_bf16"}),
    **dict.fromkeys(("AVX512_CORE_FP16", "AVX10_1_512"), _FP16),
    **dict.fromkeys(("AVX512_CORE_AMX", "AVX10_1_512_AMX"), _FP16 | AMX),
}
"""oneDNN's limits to what each leaves of `ONEDNN`; one that is not here takes nothing away."""


def usable_flags(flags: Iterable[str]) -> frozenset[str]:
    """The flags of a CPU without those that ``ONEDNN_MAX_CPU_ISA`` or ``DNNL_MAX_CPU_ISA`` takes from oneDNN.

    So kernels are chosen by what will run: on a CPU with VNNI, ``DNNL_MAX_CPU_ISA=AVX2`` gives the choice of one
    without it, and ``FBGEMM_ENABLE_INSTRUCTIONS=AVX2`` beside it the very instructions. Nothing adds what it lacks.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return frozenset(flags) - (ONEDNN - LIMITS.get(limit.upper(), ONEDNN))
