"""Which ranks pay: below ``m n / (m + n)`` two thin linears hold fewer weights than one."""

from __future__ import annotations

from autocompress.plugin import Choice, Value

FRACTIONS = (0.85, 0.7, 0.55, 0.4, 0.25)  # of the break-even rank


def break_even(rows: int, columns: int) -> float:
    """The rank at which two factors hold as many weights as the ``(rows, columns)`` matrix."""
    return rows * columns / (rows + columns)


def offered_ranks(rows: int, columns: int) -> Choice | None:
    """A handful of ranks that pay, multiples of what kernels like; None where no rank does."""
    limit = break_even(rows, columns)
    step = _step(limit)
    ranks = {int(limit * fraction / step + 0.5) * step for fraction in FRACTIONS}
    options: tuple[Value, ...] = tuple(sorted((rank for rank in ranks if 0 < rank < limit), reverse=True))
    return Choice(options) if options else None


def paying_rank(rank: int, rows: int, columns: int) -> int:
    """The rank itself, or the largest that still pays where an earlier stage left a smaller matrix."""
    step = _step(break_even(rows, columns))
    largest = (rows * columns - 1) // ((rows + columns) * step) * step
    return min(rank, max(1, largest))


def _step(limit: float) -> int:
    return 16 if limit >= 128 else 8 if limit >= 32 else 2
