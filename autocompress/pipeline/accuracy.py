"""How good the search's own predictions were, each made before the policy was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from autocompress.engine import LOSS, Trial
from autocompress.estimate.table import Table

Z = 1.645
"""Nine in ten of normal errors are within so many standard deviations."""


def accuracy_of(trials: Sequence[Trial], table: Table, dense: float) -> dict[str, float]:
    """Predictions against measurements.

    dense   latency of the dense model, in seconds.

    mape, bias, sd   of latencies predicted right before each trial after the sweep, from the tables as refitted until
                     then: no prediction has seen its own measurement.   count   of these trials.
    claimed_sd       what the refitted tables claimed the sd to be; ``covered``: the share of trials within the interval
                     that is claimed to hold nine in ten.
    table_mape       the error of the plain sum of single layers, never refitted, over all trials.
    loss_log_sd      sd of log(measured / predicted loss) of the trials after the sweep.
    additivity       joint loss over the sum of the single layers' losses, geometric mean over the sweep; 1 is additive.
    additivity_log_sd   its spread.
    """
    done = [trial for trial in trials if not trial.failed]
    if not done:
        return {}
    base = dense - table.predicted((0,) * len(table.units), "latency")
    plain = [(base + table.predicted(t.assignment, "latency")) / t.values["latency"] - 1 for t in done]
    found = {"table_mape": fmean(map(abs, plain))}
    later = [trial for trial in done if trial.proposer != "sweep" and "latency" in trial.predicted]
    if later:
        errors = [trial.predicted["latency"] / trial.values["latency"] - 1 for trial in later]
        claims = [trial.predicted_sd["latency"] / trial.predicted["latency"] for trial in later]
        inside = [abs(error) <= Z * claim for error, claim in zip(errors, claims, strict=True)]
        found |= {"mape": fmean(map(abs, errors)), "bias": fmean(errors), "sd": pstdev(errors)}
        found |= {"claimed_sd": fmean(claims), "covered": fmean(inside), "count": float(len(later))}
        losses = _logs([(t.values[LOSS], t.predicted[LOSS]) for t in later])
        if len(losses) > 1:
            found["loss_log_sd"] = pstdev(losses)
    single = [
        (trial.values[LOSS], sum(u.options[i].damage for u, i in zip(table.units, trial.assignment, strict=True)))
        for trial in done
        if trial.proposer == "sweep"
    ]
    joint = _logs(single)
    if len(joint) > 1:
        found |= {"additivity": math.exp(fmean(joint)), "additivity_log_sd": pstdev(joint)}
    return found


def _logs(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Of the pairs that are losses, both of them: a gain has no logarithm."""
    return [math.log(measured / expected) for measured, expected in pairs if measured > 0 and expected > 0]
