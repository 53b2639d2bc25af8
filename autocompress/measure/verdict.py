"""The verdict: kept only if the upper confidence bound keeps the budget, missed only if the lower one breaks it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autocompress.basics.units import format_value
from autocompress.core.measurement import Measurement
from autocompress.core.objective import MAXIMIZE, Budget
from autocompress.errors import BudgetError
from autocompress.measure.interval import STANDARD, Confidence, Sessions, anchored, interval, ratio, width

KEPT, MISSED, UNDECIDED = "kept", "missed", "undecided"

SESSIONS = 3
"""Sessions before a first verdict."""

MOST_SESSIONS = 9
"""Sessions after which an undecided verdict stays undecided."""


@dataclass(frozen=True)
class Verdict:
    """Whether one budget is kept, in the unit of its objective.

    state    ``kept``, ``missed`` or ``undecided``.
    value    the measured figure; ``lower`` and ``upper`` bound the true one.
    limit    what was promised.
    gap      ``(value - limit) / limit``, sign-normalised: above 0 is over the budget.
    reason   one line for a person.
    """

    budget: Budget
    state: str
    value: float
    lower: float
    upper: float
    limit: float
    gap: float
    reason: str

    @property
    def kept(self) -> bool:
        return self.state == KEPT

    @property
    def bound(self) -> float:
        """The confidence bound that has to keep the limit: the upper one of what is minimised."""
        return self.lower if self.budget.objective.direction == MAXIMIZE else self.upper

    def to_json(self) -> dict[str, Any]:
        figures = ("state", "value", "lower", "upper", "limit", "gap", "reason")
        return {"budget": self.budget.name, **{name: getattr(self, name) for name in figures}}


def judge(budget: Budget, measured: Measurement, *, dense: float | None = None) -> Verdict:
    """The verdict on one budget.

    measured   the compressed model's figure in the objective's unit; of a *relative* budget its ratio to the dense
               model's, which is tighter because both were measured in the same sessions.
    dense      the dense model's figure: needed for a relative budget, to say the limit in the objective's unit.
    Raises BudgetError when a relative budget comes without the dense figure.
    """
    scale = 1.0
    if budget.relative:
        if dense is None:
            raise BudgetError(f"budget {budget.describe()!r} is relative: expected the dense model's figure as well.")
        scale = dense
    limit = budget.limit * scale
    value, low, high = (scale * figure for figure in (measured.median, measured.low, measured.high))
    sign = -1.0 if budget.objective.direction == MAXIMIZE else 1.0
    worst, best = (low, high) if sign < 0 else (high, low)
    if sign * worst <= sign * limit:
        state = KEPT
    elif sign * best > sign * limit:
        state = MISSED
    else:
        state = UNDECIDED
    gap = sign * (value - limit) / abs(limit) if limit else sign * (value - limit)
    reason = _reason(budget, state, (value, low, high, limit), gap, measured.sessions)
    return Verdict(budget, state, value, low, high, limit, gap, reason)


def judge_sessions(
    budget: Budget,
    sessions: Sessions,
    dense: Sessions,
    *,
    pooled: Sessions = (),
    confidence: Confidence = STANDARD,
) -> Verdict:
    """The verdict on raw samples of the compressed and the dense model, taken in the same sessions.

    A relative budget is judged by the ratio. An absolute one by the plain interval, or by the ratio times the dense
    figure over all sessions (``pooled``: further ones of the dense model) when that is the narrower of the two.
    """
    baseline = interval(dense, statistic=budget.statistic, confidence=confidence).median
    if budget.relative:
        measured = ratio(sessions, dense, statistic=budget.statistic, confidence=confidence)
        return judge(budget, measured, dense=baseline)
    return judge(budget, absolute(sessions, dense, pooled, statistic=budget.statistic, confidence=confidence))


def absolute(
    sessions: Sessions,
    dense: Sessions,
    pooled: Sessions = (),
    *,
    statistic: str = "median",
    confidence: Confidence = STANDARD,
) -> Measurement:
    """The compressed model's figure in its own unit, by whichever of two honest estimates has the narrower interval.

    The choice looks at widths only, never at values, so that it cannot favour a verdict.
    """
    plain = interval(sessions, statistic=statistic, confidence=confidence)
    if not pooled:
        return plain
    tied = anchored(sessions, dense, pooled, statistic=statistic, confidence=confidence)
    return tied if width(tied) < width(plain) else plain


def needs_more(verdicts: Iterable[Verdict], sessions: int, *, least: int = SESSIONS, most: int = MOST_SESSIONS) -> bool:
    """Whether another session can change anything: not after a miss, not once all are kept, not beyond ``most``."""
    states = {verdict.state for verdict in verdicts}
    if sessions < least:
        return True
    return sessions < most and UNDECIDED in states and MISSED not in states


def overall(verdicts: Sequence[Verdict]) -> str:
    """One state for all budgets: missed if any is, else undecided if any is, else kept."""
    states = [verdict.state for verdict in verdicts]
    return next((state for state in (MISSED, UNDECIDED) if state in states), KEPT)


def _reason(budget: Budget, state: str, figures: tuple[float, ...], gap: float, sessions: int) -> str:
    value, low, high, limit = (format_value(figure, budget.objective.unit) for figure in figures)
    maximise = budget.objective.direction == MAXIMIZE
    bound, worst, sign = ("lower", low, ">=") if maximise else ("upper", high, "<=")
    measured = f"{budget.name} {value} [{low}, {high}] over {sessions} session{'s' if sessions != 1 else ''}"
    if state == KEPT:
        return f"kept: {measured}; the {bound} bound {worst} keeps {sign} {limit}."
    if state == MISSED:
        return f"missed: {measured}; {abs(gap):.1%} {'below' if maximise else 'over'} the limit {limit}."
    return f"undecided: {measured}; the limit {limit} lies within the interval, so this noise does not let it be told."
