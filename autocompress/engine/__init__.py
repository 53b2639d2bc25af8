"""The search engine: option tables and an evaluation function in, a front of policies out."""

from autocompress.engine.loop import search
from autocompress.engine.problem import LOSS, Assignment, Evaluate, Limit, Option, Outcome, Problem, Resource, Unit
from autocompress.engine.trial import Refit, SearchOutcome, Trial

__all__ = [
    "LOSS",
    "Assignment",
    "Evaluate",
    "Limit",
    "Option",
    "Outcome",
    "Problem",
    "Refit",
    "Resource",
    "SearchOutcome",
    "Trial",
    "Unit",
    "search",
]
