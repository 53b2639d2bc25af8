"""From raw samples of several sessions to an interval for the true value; no torch.

Everything is done on the logarithm, because noise and session bias are proportions. A session's median hides the
spikes; the spread *between* sessions carries what no repeat within one session can show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median, stdev

from autocompress.core.measurement import Measurement
from autocompress.errors import UsageError

Sessions = Sequence[Sequence[float]]
"""One sequence of raw samples per session."""


@dataclass(frozen=True)
class Confidence:
    """How sure an interval is.

    level   of each bound on its own (one-sided); the two-sided interval is sure at ``2 * level - 1``. Above the usual
            0.95, because a search confirms several candidates, and the first that passes is taken.
    floor   the least session-to-session sd that is believed, as a fraction: two or three sessions that happen to
            agree are no proof of a machine without bias. Halved for ratios within a session, which share the bias.
    prior   how many sessions' worth of trust the floor gets in the estimate of the spread.
    """

    level: float = 0.97
    floor: float = 0.01
    prior: float = 1.0


STANDARD = Confidence()


def interval(sessions: Sessions, *, statistic: str = "median", confidence: Confidence = STANDARD) -> Measurement:
    """The true value of a positive quantity that several sessions sampled, with the sessions' bias in the interval.

    statistic   of each session: ``median`` or ``p95``. The value is the median of them over the sessions.
    Raises UsageError without a session, or with a sample that is not positive and finite.
    """
    logs = [math.log(value(session, statistic)) for session in sessions]
    half = _half_width(logs, [_error(session, statistic) for session in sessions], confidence.floor, confidence)
    return _measurement(sessions, median(logs), half)


def ratio(
    sessions: Sessions, reference: Sessions, *, statistic: str = "median", confidence: Confidence = STANDARD
) -> Measurement:
    """The quotient of two quantities sampled in the same sessions; what a session does to both cancels.

    The samples of the answer are one quotient a session. Raises UsageError when the sessions do not pair up.
    """
    logs = _log_ratios(sessions, reference, statistic)
    half = _half_width(logs, _ratio_errors(sessions, reference, statistic), confidence.floor / 2, confidence)
    return _measurement([[math.exp(log)] for log in logs], median(logs), half)


def anchored(
    sessions: Sessions,
    reference: Sessions,
    pooled: Sessions,
    *,
    statistic: str = "median",
    confidence: Confidence = STANDARD,
) -> Measurement:
    """The value as the ratio to a reference times that reference over *all* sessions that measured it.

    pooled   further sessions of the reference: the dense baseline, other candidates. They average out the machine's
             sessions, which the candidate's own few cannot.
    """
    logs = _log_ratios(sessions, reference, statistic)
    everything = [*reference, *pooled]
    anchors = [math.log(value(session, statistic)) for session in everything]
    first = _half_width(logs, _ratio_errors(sessions, reference, statistic), confidence.floor / 2, confidence)
    second = _half_width(anchors, [_error(one, statistic) for one in everything], confidence.floor, confidence)
    return _measurement(sessions, median(logs) + median(anchors), math.hypot(first, second))


def value(session: Sequence[float], statistic: str = "median") -> float:
    """One session's figure. p95 is the order statistic at or above 95 %, the largest of fewer than 20 samples."""
    if not session or not all(math.isfinite(sample) and sample > 0 for sample in session):
        raise UsageError(f"cannot summarise a session of {len(session)} samples: expected positive, finite numbers.")
    if statistic == "median":
        return median(session)
    if statistic != "p95":
        raise UsageError(f"unknown statistic {statistic!r}: expected 'median' or 'p95'.")
    return sorted(session)[math.ceil(0.95 * len(session)) - 1]


def width(measurement: Measurement) -> float:
    """The interval's half-width as a fraction of the value."""
    return (measurement.high - measurement.low) / 2 / measurement.median


@lru_cache(maxsize=512)
def t_quantile(level: float, freedom: float) -> float:
    """Student's t: the quantile at ``level`` (one-sided) with ``freedom`` degrees, not necessarily whole."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, level))


def _half_width(logs: list[float], errors: list[float], floor: float, confidence: Confidence) -> float:
    """Half of the interval on the log scale: t times the standard error of the sessions' median."""
    count = len(logs)
    # The median over the sessions: one session full of spikes must not widen the others' errors.
    within = median(errors) ** 2
    least = floor * floor + within
    freedom = count - 1 + confidence.prior
    spread = stdev(logs) ** 2 if count > 1 else 0.0
    shrunk = ((count - 1) * spread + confidence.prior * least) / freedom
    # The median of three or more is less efficient than their mean; the factor is pi / 2 in the limit.
    efficiency = 1.0 if count < 3 else (math.pi / 2) * (1 - 1 / (2 * count)) if count > 4 else 1.35
    return t_quantile(confidence.level, freedom) * math.sqrt(efficiency * max(shrunk, least) / count)


def _error(session: Sequence[float], statistic: str) -> float:
    """The standard error of log of the session's figure, from order statistics: no distribution is assumed."""
    ordered, count = sorted(session), len(session)
    share = 0.5 if statistic == "median" else 0.95
    center, reach = count * share - 0.5, math.sqrt(count * share * (1 - share))
    return math.log(_rank(ordered, center + reach) / _rank(ordered, center - reach)) / 2


def _rank(ordered: Sequence[float], position: float) -> float:
    """The order statistic at a position between ranks, linear in between, clipped to the ends."""
    position = min(max(position, 0.0), len(ordered) - 1.0)
    below = min(math.floor(position), max(0, len(ordered) - 2))
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _log_ratios(sessions: Sessions, reference: Sessions, statistic: str) -> list[float]:
    if len(sessions) != len(reference):
        raise UsageError(
            f"{len(sessions)} sessions against {len(reference)} of the reference: expected as many of each."
        )
    return [
        math.log(value(ours, statistic) / value(theirs, statistic))
        for ours, theirs in zip(sessions, reference, strict=True)
    ]


def _ratio_errors(sessions: Sessions, reference: Sessions, statistic: str) -> list[float]:
    return [
        math.hypot(_error(ours, statistic), _error(theirs, statistic))
        for ours, theirs in zip(sessions, reference, strict=True)
    ]


def _measurement(samples: Sessions, center: float, half: float) -> Measurement:
    kept = tuple(tuple(session) for session in samples)
    return Measurement(kept, math.exp(center), math.exp(center - half), math.exp(center + half))
