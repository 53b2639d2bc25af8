"""How long a stranger's code may take, and its end when it takes longer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autocompress.errors import TrialError


class TookTooLongError(TrialError):
    """A plugin's step was ended because it did not finish in time."""


LEAST = 60.0
"""Seconds that any single step of a plugin may take."""
A_MILLION = 20.0
"""Seconds more for every million parameters that it works on: the slowest of ours takes a hundredth of it."""


def allowed(parameters: int) -> float:
    """Seconds that compressing and running a layer of so many parameters may take."""
    return LEAST + A_MILLION * parameters / 1e6


@contextmanager
def ended_after(seconds: float, what: str) -> Iterator[None]:
    """Raise TrialError inside the block when it runs longer.

    Python's own code can be ended so, in the main thread of a POSIX system; elsewhere, and inside a native library, it
    cannot: what hangs there is found out in a process of its own before it may run in ours.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLongError(f"{what} did not finish within {seconds:.0f} s and was ended.")

    before = signal.signal(signal.SIGALRM, end)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)
