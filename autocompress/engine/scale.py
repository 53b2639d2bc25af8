"""The scale on which losses are compared: by ratio where they are far from zero, and on through zero below it.

``asinh(loss / (2 * floor))`` is log(loss / floor) to within one part in a hundred from five floors on, linear around
zero, and minus the logarithm of a gain: a policy that is better than dense ranks as better, by how much it is.
"""

from __future__ import annotations

import numpy as np

from autocompress.engine.tables import Floats

_NEAR = 1e-3


def compress(loss: Floats | float, floor: float) -> Floats:
    """Losses on the scale; ``floor`` > 0 is the loss below which ratios mean nothing."""
    return np.asarray(np.arcsinh(np.divide(loss, 2.0 * floor)))


def expand(scaled: Floats | float, floor: float) -> Floats:
    """The losses that `compress` gave."""
    return np.asarray(np.sinh(scaled) * (2.0 * floor))


def hoped(loss: Floats | float, amount: Floats | float) -> Floats:
    """Losses that are lower by ``amount`` >= 0 of their logarithm; a gain is larger by as much."""
    return np.asarray(loss - np.abs(loss) * (1.0 - np.exp(-np.asarray(amount))))


def apart(measured: float, predicted: float) -> float:
    """How far a measured loss is from a predicted one: log(measured / predicted) where both are losses."""
    floor = _NEAR * max(abs(measured), abs(predicted))
    return float(compress(measured, floor) - compress(predicted, floor)) if floor > 0 else 0.0
