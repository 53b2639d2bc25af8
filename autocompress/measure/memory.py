"""Memory: peak allocated and reserved on a GPU; growth of resident memory on a CPU."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_INTERVAL = 0.002


@dataclass
class Peak:
    """Bytes: resident before the block, and the highest while it ran."""

    before: int
    peak: int

    @property
    def growth(self) -> int:
        return max(0, self.peak - self.before)


def resident() -> int:
    """Resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


@contextmanager
def resident_peak() -> Iterator[Peak]:
    """The highest resident memory of this process while the block runs; exact where Linux lets it be reset.

    Elsewhere a thread samples every 2 ms, which may miss a short peak. ``peak`` is filled in when the block ends.
    """
    found = Peak(resident(), 0)
    if _reset_high_water():
        try:
            yield found
        finally:
            found.peak = max(_high_water(), resident())
        return
    with _sampling(found):
        yield found


def release_free_memory() -> None:
    """Give freed memory back to the system where the C library can, so that it cannot hide later growth."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def cuda_peak(call: Callable[[], T]) -> tuple[T, int, int]:
    """The call's answer, and peak bytes (allocated, reserved) of the CUDA allocator, what was there before included."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    answer = call()
    torch.cuda.synchronize()
    return answer, int(torch.cuda.max_memory_allocated()), int(torch.cuda.max_memory_reserved())


def _reset_high_water() -> bool:
    """Set VmHWM back to the present resident size; False where that is not permitted."""
    try:
        _CLEAR.write_text("5")
        return _high_water() > 0
    except OSError:
        return False


def _high_water() -> int:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


@contextmanager
def _sampling(found: Peak) -> Iterator[None]:
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_INTERVAL):
            found.peak = max(found.peak, resident())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        found.peak = max(found.peak, resident())
