"""A scale for the quality axis: by what was lost to the dense model, in decades, so that 0.99 and 0.999 lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 30.0
"""The worst loss over the median loss from which on a linear axis hides the good points."""


def scale_quality(axes: Axes, qualities: Sequence[float], dense: float | None) -> bool:
    """Scale the y axis by the loss to the dense quality where that reads better; whether it did.

    A quality above the dense one keeps the axis linear: such a metric is not a fidelity.
    """
    import numpy as np
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    losses = sorted(dense - quality for quality in qualities) if dense is not None else []
    positive = [loss for loss in losses if loss > 0]
    if dense is None or not positive or losses[0] < 0 or positive[-1] < WIDE * positive[len(positive) // 2]:
        return False
    least, worst = positive[0] / 2, positive[-1]
    axes.set_yscale(
        "function",
        functions=(
            lambda quality: -np.log10(np.maximum(dense - quality, 0.0) + least),
            lambda height: dense + least - 10.0**-height,
        ),
    )
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(worst)) + 1)
    ticks = [dense, *(dense - 10.0**decade for decade in decades if least <= 10.0**decade <= 3 * worst)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda quality, _: f"{quality:.8g}"))
    axes.set_ylim(dense - 1.5 * worst, dense + least / 3)
    return True
