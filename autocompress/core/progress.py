"""What a search tells while it runs; the command line draws it, Python callers may pass their own function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

STAGES = ("load", "bind", "baseline", "cost", "sensitivity", "search", "verify", "emit")


@dataclass(frozen=True)
class Event:
    """One step of progress.

    stage     one of STAGES.   done, total  steps within the stage (total 0: not known).
    message   what is being done, or what was found out.
    best      the best feasible trial so far in words, or "".
    left      seconds left in this stage as far as is known, or None.
    note      a line to keep on the screen (what was dropped, which default was taken), not just the status.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""
    best: str = ""
    left: float | None = None
    note: bool = False


Progress = Callable[[Event], None]


def silent(_event: Event) -> None:
    """No progress."""
