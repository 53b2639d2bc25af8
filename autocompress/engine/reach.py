"""Which limits no policy is predicted to keep, by the tables alone: known before the first evaluation."""

from __future__ import annotations

from autocompress.engine.model import Model
from autocompress.engine.problem import Problem
from autocompress.engine.tables import as_array


def out_of_reach(problem: Problem) -> dict[str, float]:
    """Limited name to the least that is predicted of it, for the limits that are predicted to be broken.

    First every resource alone; when each can be kept, all limits together: the policy of least predicted loss within
    the others' limits.
    """
    model = Model(problem)
    limits = {limit.name: problem.limit(limit.name) for limit in problem.limits}
    least = {name: model.reach(name)[0] for name in limits if name in model.resources}
    alone = {name: value for name, value in least.items() if value > (limits[name] or 0.0)}
    if alone or not limits:
        return alone
    policy = as_array([model.solve((1.0,) * len(model.swept))])
    found = {name: float(values[0]) for name, values in model.predict(policy).items()}
    return {name: found[name] for name, limit in limits.items() if name in model.known and found[name] > (limit or 0.0)}
