"""The search as a study: `ask` for a policy to evaluate, `tell` what came of it; several may be out at once.

    study = Study(problem, Stop(trials=100))
    while (proposal := study.ask()) is not None:
        study.tell(proposal, evaluate(proposal.assignment))
    found = study.outcome()

Every proposal is in the journal before `ask` returns it, every outcome before `tell` does. A study that is opened again
on the same storage first proposes what was out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import optuna

from autocompress.engine.knobs import build_knobs
from autocompress.engine.ledger import Ledger
from autocompress.engine.problem import LOSS, Outcome, Problem
from autocompress.engine.proposers import Draft, Proposers, Sweep
from autocompress.engine.racing import Races, Screen
from autocompress.engine.samplers import SamplerFactory, sampler_factory
from autocompress.engine.state import State
from autocompress.engine.trial import Proposal, SearchOutcome, Trial
from autocompress.storage.journal import open_study

STAGES = frozenset({"sweep", "resolve", "tpe", "screen", "refit"})
_ROUND = 4
_SETTLED = 0.005
_HOPELESS = 12


@dataclass(frozen=True)
class Stop:
    """When a search ends: trials in all (earlier runs included), seconds of this study, rounds without progress."""

    trials: int
    seconds: float | None = None
    patience: int | None = None


class Study:
    """Proposes policies of `problem` and learns from their outcomes, told in any order; for one thread at a time.

    seed, storage, study_name, sampler, stages and screen are those of `search`.
    """

    def __init__(
        self,
        problem: Problem,
        stop: Stop,
        *,
        seed: int = 0,
        storage: optuna.storages.BaseStorage | None = None,
        study_name: str = "autocompress",
        sampler: str | SamplerFactory = "tpe",
        stages: frozenset[str] = STAGES,
        screen: Screen | None = None,
    ) -> None:
        factory = sampler_factory(sampler)
        study = open_study(storage, study_name, len(problem.objectives))
        self._started = time.monotonic()
        self._stop = stop
        self._state = state = State(problem)
        knobs = build_knobs(state.model.tables, state.model.swept)
        self._ledger = Ledger(problem, knobs, study)
        state.trials, self._pending = self._ledger.restore()
        state.seen |= {trial.assignment for trial in state.trials}
        known = len(state.trials)
        study.sampler = factory(seed + known)
        races = Races(screen) if screen is not None and LOSS in state.model.names else None
        self._sweep = Sweep(state, self._ledger, knobs, stop.trials, stop.seconds) if "sweep" in stages else None
        self._proposers = Proposers(state, self._ledger, knobs, stages, races, [seed, known])
        self._refits = "refit" in stages
        self._drafts: dict[int, Draft] = {}
        self._round_ends, self._rounds, self._best, self._settled = 0, 0, 0.0, 0
        self._stopped_because = ""

    @property
    def over(self) -> bool:
        """Whether nothing will be proposed any more; outcomes of what is out may still be told."""
        return bool(self._stopped_because)

    @property
    def waiting(self) -> bool:
        """Whether outcomes are out that may bring more: where `ask` gave None, they have to be told first."""
        return bool(self._state.out) and not self.over

    def ask(self) -> Proposal | None:
        """A policy to evaluate that is neither out nor evaluated, or None: the study is `over`, or `waiting`."""
        if self.over or self._ended():
            return None
        proposal = self._again()
        if proposal is None:
            draft = self._swept() or self._drafted()
            if draft is None:
                return None
            forecast = self._state.model.forecast(draft.policy)
            proposal = Proposal(draft.asked.number, draft.policy, draft.proposer, forecast)
            self._ledger.start(draft.asked, draft.policy, draft.proposer, forecast)
            self._drafts[proposal.number] = draft
        self._state.propose(proposal)
        return proposal

    def tell(self, proposal: Proposal, outcome: Outcome) -> Trial:
        """What the evaluation found, a failure (`Outcome.cause`) included. Raises ValueError if it is not out."""
        draft = self._drafts.get(proposal.number)
        if draft is None or draft.policy != proposal.assignment:
            raise ValueError(f"proposal {proposal.number} is not out: it was told before, or is another study's")
        trial = self._ledger.finish(draft.asked, draft.policy, draft.proposer, outcome, proposal.forecast)
        del self._drafts[proposal.number]
        self._state.add(trial)
        self._proposers.told(trial, draft.look)
        return trial

    def outcome(self) -> SearchOutcome:
        """The front and all finished trials, in the order in which they were proposed."""
        trials = sorted(self._state.trials, key=lambda trial: trial.number)
        return self._state.space.outcome(trials, self._state.refits, self._stopped_because)

    def _again(self) -> Proposal | None:
        """What was out when an earlier study ended, with what was forecast of it then."""
        while self._pending:
            pending = self._pending.pop(0)
            if pending.assignment not in self._state.seen:
                asked, proposal = self._ledger.start_again(pending)
                self._drafts[proposal.number] = Draft(asked, proposal.assignment, proposal.proposer)
                return proposal
            self._ledger.drop(pending.number)
        return None

    def _swept(self) -> Draft | None:
        draft = self._sweep.draft() if self._sweep is not None else None
        if draft is None:
            self._sweep = None
        return draft

    def _drafted(self) -> Draft | None:
        """A proposal of the rounds after the sweep."""
        if not self._state.anchored:
            self._state.anchor()
        if len(self._state.trials) >= self._round_ends and not self._begin_round():
            return None
        draft = self._proposers.draft()
        if draft is None and not self._state.out:
            self._stopped_because = "no policy is left that was not evaluated"
        return draft

    def _begin_round(self) -> bool:
        """Learn from what was told since the last round; False if the front has stopped moving."""
        trials = len(self._state.trials)
        if self._rounds and self._stop.patience is not None:
            now = self._state.progress()
            self._settled = self._settled + 1 if now - self._best < _SETTLED else 0
            self._best = max(self._best, now)
            if self._settled >= self._stop.patience:
                self._stopped_because = f"the front stopped moving: {self._settled} rounds below {_SETTLED:.1%}"
                return False
        if self._refits:
            self._state.refit()
        # A round grows with the trials, so that refitting stays a fixed share of the work.
        self._round_ends = trials + max(_ROUND, trials // 25)
        self._rounds += 1
        return True

    def _ended(self) -> bool:
        """Whether a limit is reached; sets why."""
        stop, trials, out = self._stop, self._state.trials, len(self._state.out)
        if len(trials) + out >= stop.trials:
            self._stopped_because = f"trial limit of {stop.trials}"
        elif stop.seconds is not None and time.monotonic() - self._started >= stop.seconds:
            self._stopped_because = f"time limit of {stop.seconds:g} s"
        elif len(trials) >= _HOPELESS and all(trial.failed for trial in trials):
            if out:  # one of them may yet succeed
                return True
            self._stopped_because = f"all of {len(trials)} trials failed, the last one: {trials[-1].cause}"
        else:
            return False
        return True
