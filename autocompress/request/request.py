"""What a user asks for, typed; every bad value is refused here, before anything is loaded."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocompress.core.objective import BUILTIN, Budget, Objective, parse_budgets
from autocompress.errors import UsageError

DEMO = "demo"
TRIALS = 100


@dataclass(frozen=True)
class SearchRequest:
    """One search. Only ``model`` and ``budgets`` have to be given.

    model       a Hugging Face folder or id, ``demo``, or a torch module.
    budgets     as text: ``20ms``, ``70%``, ``memory=300MB``, ``quality=0.98``.
    data        a file (text, csv, json, or tensors as .safetensors), `Texts`, tensors by input name, or a triple of
                those (calibration, validation, test).   labels are named ``labels``; they go to the evaluator only.
    column, labels, group   columns of a csv or json file: the texts, what is right for a row (``none`` for none),
                its topic.
    evaluator   a name, an `Evaluator`, or ``function(model, batches) -> float`` (higher is better).
    trials      the most policies that are evaluated.   seconds   the most time for the search stage. What is given is
                used up; a search without either ends when its front stops moving, after TRIALS at the latest.
    sessions    fresh processes for the verdict on latency and memory, at least; more while it is undecided.
                One where no budget is on either.
    out         the run folder; None: a telling name under ``autocompress-runs``.
    """

    model: Any = DEMO
    budgets: tuple[str, ...] = ()
    data: Any = None
    column: str | None = None
    labels: str | None = None
    group: str | None = None
    space: str | None = None
    task: str | None = None
    evaluator: str | Callable[..., float] | Any | None = None
    objectives: tuple[Objective, ...] = ()
    runtime: str = "torch"
    device: str = "auto"
    batch: int = 1
    sequence: int = 128
    threads: int | None = None
    sampler: str = "tpe"
    seed: int = 0
    trials: int | None = None
    seconds: float | None = None
    sessions: int = 3
    out: Path | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    plugins: tuple[object, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("sequence", 1), ("trials", 1), ("sessions", 2)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}: expected at least {least}.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}: expected at least 1, or leave it out to use what is free.")
        if self.seconds is not None and self.seconds <= 0:
            raise UsageError(f"time is {self.seconds} s: expected a positive time such as 5m.")
        names = [objective.name for objective in (*BUILTIN, *self.objectives)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"two objectives are named {twice[0]!r}; give each its own name.")

    def parsed_budgets(self, known: tuple[Objective, ...] = ()) -> tuple[Budget, ...]:
        """The budgets as data; ``known`` are further objectives, from plugins. Raises BudgetError."""
        return parse_budgets(self.budgets, (*BUILTIN, *known, *self.objectives), self.objectives)

    @property
    def limited(self) -> bool:
        """Whether the user said when to stop."""
        return self.trials is not None or self.seconds is not None

    @property
    def most_trials(self) -> int:
        """The trial limit: the user's, else one that is only reached without any limit on the time."""
        if self.trials is not None:
            return self.trials
        return TRIALS if self.seconds is None else sys.maxsize

    @property
    def model_name(self) -> str:
        return self.model if isinstance(self.model, str) else type(self.model).__name__

    def replay(self) -> str:
        """The command that repeats this search, or "" for one that a command cannot say (a module, a callable)."""
        plain = self.data is None or isinstance(self.data, str | Path)
        if not isinstance(self.model, str) or self.objectives or not plain or callable(self.evaluator):
            return ""
        words = ["autocompress", "search", self.model]
        for budget in self.budgets:
            words += ["--budget", budget]
        default = SearchRequest()
        data = ("data", "column", "labels", "group")
        for option in (*data, "space", "task", "evaluator", "runtime", "device", "batch", "sequence"):
            if getattr(self, option) != getattr(default, option):
                words += [f"--{option}", str(getattr(self, option))]
        for option in ("threads", "sampler", "seed", "trials", "sessions", "out"):
            if getattr(self, option) != getattr(default, option):
                words += [f"--{option}", str(getattr(self, option))]
        if self.seconds is not None:
            words += ["--time", f"{self.seconds:g}s"]
        words += ["--trust-remote-code"] * self.trust_remote_code + ["--allow-pickle"] * self.allow_pickle
        return shlex.join(words)
