"""The machine: how many threads are free to use, and the fingerprint that goes with every figure."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from autocompress.core.target import Target
from autocompress.errors import UsageError
from autocompress.measure.isa import ISA, usable_flags

FLAGS = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),
    *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""Instruction sets that decide which kernels are real on a CPU, as Linux spells them."""

CAPABILITIES = {"fp16": (5, 3), "int8": (6, 1), "bf16": (8, 0), "sparse24": (8, 0), "fp8": (8, 9)}
"""The lowest compute capability of a GPU with real kernels for each precision."""

OPENMP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Idle OpenMP threads spin for tens of microseconds, then sleep. Without any spinning MiniLM took 22.3 ms on two idle
cores instead of 12.7 (int8: 16.6 instead of 7.1); with ten times as much, 99 ms instead of 46 beside a busy process.
"""

LIBRARIES = ("autocompress", "torch", "transformers")


def available_threads() -> int:
    """Physical cores that this process may use: its affinity mask, cut by the cgroup's CPU quota; at least 1."""
    allowed = _affinity()
    quota = _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    cores = _physical(allowed)
    return max(1, min(cores, int(quota)) if quota is not None else cores)


def fingerprint(device: str = "cpu") -> dict[str, Any]:
    """What a figure depends on and what does not change from run to run: hardware, flags, versions; never load.

    device: ``cpu`` or ``cuda``. Bytes for ``memory``. JSON-able.
    """
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": _physical(_affinity()),
        "memory": int(psutil.virtual_memory().total),
        "flags": cpu_flags(),
        "openmp": {name: os.environ.get(name, "") for name in OPENMP},
        "isa": {name: os.environ[name] for name in ISA if os.environ.get(name)},
        "versions": versions(),
    }
    if device == "cuda":
        found |= _gpu()
    return found


def versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Installed version of each library, without importing it; absent ones are left out. Python's own included."""
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_flags() -> list[str]:
    """The usable instruction sets of this CPU among `FLAGS`, sorted; empty where the system does not tell."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return sorted(usable_flags(found[1].split()) & set(FLAGS)) if found else []


def detect_target(
    device: str = "auto",
    runtime: str = "torch",
    batch: int = 1,
    sequence: int = 128,
    threads: int | None = None,
) -> Target:
    """This machine as a `Target`; ``auto`` takes a CUDA device if there is one, and all free cores.

    Raises UsageError when the device is not here, or when a count is not positive.
    """
    _check(batch=batch, sequence=sequence, threads=threads)
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}: expected cpu, cuda or auto.")
    if device != "cpu":
        reason = _no_cuda()
        if device == "cuda" and reason:
            raise UsageError(
                f"device 'cuda' is not here ({reason}); there is: cpu ({_cpu_model()}, {available_threads()} threads)."
            )
        device = "cpu" if reason else "cuda"
    return Target(device, runtime, batch, sequence, threads or available_threads(), fingerprint(device))


def torch_build() -> tuple[str, str]:
    """The CUDA version that the installed torch is built for ("" for none), and torch's own; torch is not imported."""
    if "torch" in sys.modules:
        import torch

        return torch.version.cuda or "", torch.__version__
    spec = importlib.util.find_spec("torch")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    text = (folder / "version.py").read_text(encoding="utf-8") if (folder / "version.py").is_file() else ""
    cuda = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    version = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return cuda[1] if cuda else "", version[1] if version else ""


def environment(target: Target) -> dict[str, str]:
    """Variables to set before torch is imported, in a child or at the very start of a program."""
    threads = str(target.threads)
    return {
        **OPENMP,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
    }


def prepare_environment() -> None:
    """Give this process the OpenMP settings of a measuring one; of no effect once torch is imported."""
    os.environ.update(OPENMP)


def prepare_process(target: Target) -> None:
    """Give torch the target's threads; call once before anything is timed."""
    import torch

    torch.set_num_threads(target.threads)


def _check(**counts: int | None) -> None:
    for name, count in counts.items():
        lowest = 0 if name == "sequence" else 1
        if count is not None and count < lowest:
            raise UsageError(f"{name} {count} is too small: expected a whole number of at least {lowest}.")


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical(allowed: set[int]) -> int:
    """Distinct physical cores among these logical processors; the kernel's topology where it tells."""
    siblings = set()
    for processor in allowed:
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list").read_text())
        except OSError:
            physical = psutil.cpu_count(logical=False)
            return max(1, min(len(allowed), physical or len(allowed)))
    return max(1, len(siblings))


def _cgroup_quota(membership: Path, root: Path) -> float | None:
    """CPUs that the tightest cgroup around this process allows (v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``), or None."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        inner = Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            quotas.append(_quota_v1(base / folder) if controllers else _quota_v2(base / folder))
    found = [quota for quota in quotas if quota is not None]
    return min(found) if found else None


def _quota_v2(folder: Path) -> float | None:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit / period if limit > 0 else None


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_model() -> str:
    found = re.search(r"^(?:model name|Model|CPU part)\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _no_cuda() -> str:
    """Why CUDA cannot be used here, or ""."""
    built, version = torch_build()
    if not built:
        return f"torch {version} is built without CUDA"
    import torch

    return "" if torch.cuda.is_available() else "no CUDA device is visible"


def _gpu() -> Mapping[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(0)
    capability = (properties.major, properties.minor)
    precisions = [name for name, lowest in CAPABILITIES.items() if capability >= lowest]
    return {
        "gpu": properties.name,
        "capability": f"{capability[0]}.{capability[1]}",
        "cuda": torch.version.cuda,
        "driver": _driver(),
        "gpu_memory": int(properties.total_memory),
        "flags": sorted(["cuda", f"sm_{capability[0]}{capability[1]}", *precisions]),
    }


def _driver() -> str:
    try:
        found = re.search(r"Module\s+(\S+)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return ""
    return found[1] if found else ""
