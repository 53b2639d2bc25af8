"""The search engine: option tables and an evaluation function in, a front of policies out."""

from autocompress.engine.loop import attempt, search
from autocompress.engine.problem import LOSS, Assignment, Evaluate, Limit, Option, Outcome, Problem, Resource, Unit
from autocompress.engine.study import Stop, Study
from autocompress.engine.trial import Proposal, Refit, SearchOutcome, Trial

__all__ = [
    "LOSS",
    "Assignment",
    "Evaluate",
    "Limit",
    "Option",
    "Outcome",
    "Problem",
    "Proposal",
    "Refit",
    "Resource",
    "SearchOutcome",
    "Stop",
    "Study",
    "Trial",
    "Unit",
    "attempt",
    "search",
]
