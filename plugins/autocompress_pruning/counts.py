"""How many units a fraction keeps: a function of the fraction and the layer's size alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autocompress.plugin import Choice, TrialError, Value

FRACTIONS = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
MULTIPLE = 8  # kernels read whole vectors; an odd width costs as much as the next multiple


def fraction(params: Mapping[str, Value]) -> float:
    """``params["keep"]`` as a number in (0, 1]. Raises TrialError when it is anything else."""
    keep = params.get("keep")
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1:
        raise TrialError(f"keep={keep!r}: expected a fraction above 0 and at most 1, such as 0.75.")
    return float(keep)


def kept_width(keep: float, width: int) -> int:
    """The width nearest to ``keep * width`` that is a multiple of 8; a width below 16 is cut to any number."""
    multiple = MULTIPLE if width >= 2 * MULTIPLE else 1
    return min(width, max(multiple, int(keep * width / multiple + 0.5) * multiple))


def kept_heads(keep: float, kv_heads: int) -> int:
    """The number of key-value heads nearest to ``keep * kv_heads``, at least one."""
    return min(kv_heads, max(1, int(keep * kv_heads + 0.5)))


def fractions_for(size: int, kept: Callable[[float, int], int]) -> Choice | None:
    """The fractions that give different counts below ``size``: of two with the same count, the nearer one."""
    best: dict[int, float] = {}
    for keep in FRACTIONS:
        count = kept(keep, size)
        if count < size and (count not in best or abs(keep * size - count) < abs(best[count] * size - count)):
            best[count] = keep
    options: tuple[Value, ...] = tuple(sorted(best.values(), reverse=True))
    return Choice(options) if options else None
