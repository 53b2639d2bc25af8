"""Who proposes: the plain sweep, then solves on refitted tables and TPE over knobs, in turn.

"resolve" solves the next target of an even sequence on tables refitted to all trials; "tpe" asks Optuna for knobs, maps
them through the allocator and takes the one that a surrogate expects most of. Where neither finds a policy that is new,
"local" switches one or two options of a front member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import optuna

from autocompress.engine.knobs import Knobs
from autocompress.engine.ledger import Ledger
from autocompress.engine.problem import LOSS, Assignment
from autocompress.engine.proposals import local_moves, neighbours, next_fractions, sweep_fractions
from autocompress.engine.racing import Races
from autocompress.engine.state import State
from autocompress.engine.tables import Floats, Ints, as_array
from autocompress.engine.trial import Trial

_TURNS = ("resolve", "tpe", "resolve")
_AT_LIMIT = 3
_MOVES = 256
_HOPEFUL = 24
_RACERS = 4
LEAST_SWEEP = 6
_MOST_SWEEP = 18


@dataclass(frozen=True)
class Draft:
    """A policy to propose: the sampler's trial that it belongs to, and its loss in the race that it won, if any."""

    asked: optuna.Trial
    policy: Assignment
    proposer: str
    look: float | None = None


class Sweep:
    """The allocator at a third of the `trials`, widest targets first; the baseline that the rest has to beat."""

    def __init__(self, state: State, ledger: Ledger, knobs: Knobs, trials: int, seconds: float | None) -> None:
        self._state, self._ledger, self._knobs, self._seconds = state, ledger, knobs, seconds
        self._count = int(np.clip(trials // 3, min(LEAST_SWEEP, trials), _MOST_SWEEP))
        self._targets: Iterator[tuple[float, ...]] = iter(sweep_fractions(state.model, self._count, state.lowest))

    def draft(self) -> Draft | None:
        """The next policy of the sweep; None once it is complete."""
        state = self._state
        out = sum(proposal.proposer == "sweep" for proposal in state.out.values())
        if len(state.sweep) + out >= self._count or self._enough():
            return None
        for fractions in self._targets:
            policy = state.model.solve(fractions)  # no coupling is known yet but what format changes cost
            if policy not in state.seen:
                return Draft(self._ledger.ask_for(self._knobs.neutral(fractions)), policy, "sweep")
        return None

    def _enough(self) -> bool:
        """Whether the sweep has had its third of the trials that the time allows; its targets come widest first."""
        swept = self._state.sweep
        spent = sum(trial.seconds for trial in swept)
        if self._seconds is None or len(swept) < LEAST_SWEEP or spent <= 0:
            return False
        return len(swept) >= self._seconds / (spent / len(swept)) / 3


class Proposers:
    """What proposes once the sweep is out: TPE every third policy, solves the others, local moves what is left.

    Measured on 48 layers, 12 problems of all kinds, against giving each its share by what it lately added (TPE every
    fifth or sixth, local moves every sixth): hypervolume -0.001 / -0.000 / +0.001 of the true front's at 50 / 100 / 200
    evaluations, each with a standard error of 0.001.
    """

    def __init__(
        self, state: State, ledger: Ledger, knobs: Knobs, stages: frozenset[str], races: Races | None, seed: list[int]
    ) -> None:
        self._state, self._ledger, self._knobs, self._races = state, ledger, knobs, races
        self._screens = "screen" in stages
        turns = [name for name in _TURNS if name in stages] or ["tpe"]
        self._turns = cycle({"resolve": self._resolve, "tpe": self._tpe}[name] for name in turns)
        self._rng = np.random.default_rng(seed)
        self._resolves = sum(trial.proposer == "resolve" for trial in state.trials)

    def draft(self) -> Draft | None:
        """A policy by the proposer whose turn it is, or else a local move; None if there is none."""
        return next(self._turns)() or self._local()

    def told(self, trial: Trial, look: float | None) -> None:
        """How a proposal did, and what a race saw of it: how far races are to be trusted."""
        if self._races is not None and not trial.failed and trial.proposer != "sweep":
            self._races.told(trial.predicted[LOSS], trial.values[LOSS], look)

    def _resolve(self) -> Draft | None:
        state, model = self._state, self._state.model
        for _ in range(4):
            self._resolves += 1
            # The policy that uses the budget up is what most users came for: it is solved again on better tables.
            at_limit = state.problem.limits and self._resolves % _AT_LIMIT == 1
            limit = (1.0,) * len(model.swept)
            fractions = limit if at_limit else next_fractions(model, self._resolves, state.lowest)
            policy = model.solve(fractions)
            if policy not in state.seen:
                others: list[Assignment] = []
                if self._races is not None and self._races.worthwhile:
                    others = neighbours(policy, model, state.seen, _RACERS - 1, self._rng)
                policy, look = self._raced([policy, *others])
                return Draft(self._ledger.ask_for(self._knobs.neutral(fractions)), policy, "resolve", look)
        return None

    def _tpe(self) -> Draft | None:
        state, model, knobs = self._state, self._state.model, self._knobs
        # Asking costs more the more trials there are; the screen matters most while there are few.
        asked = self._ledger.ask(max(1, min(6, 400 // max(1, len(state.trials)))) if self._screens else 1)
        alone = len(asked) == 1  # to choose among several, solves without couplings are good enough, and cheaper
        options: list[tuple[optuna.Trial, Assignment]] = []
        for trial in asked:
            policy = model.solve(knobs.fractions(trial.params), knobs, trial.params, coupled=alone)
            if policy not in state.seen:
                options.append((trial, policy))
        if not options:
            self._ledger.discard(asked)
            return None
        order = np.argsort(-state.gains(as_array([p for _, p in options])), kind="stable")[:_RACERS]
        raced, look = self._raced([options[i][1] for i in order])
        chosen, policy = next(option for option in options if option[1] == raced)
        self._ledger.discard([trial for trial in asked if trial is not chosen])
        settled = policy if alone else model.solve(knobs.fractions(chosen.params), knobs, chosen.params)
        return Draft(chosen, policy if settled in state.seen else settled, "tpe", look)

    def _local(self) -> Draft | None:
        state = self._state
        front = state.space.front(state.trials) or state.done
        if not front:
            return None
        moves = local_moves([trial.assignment for trial in front], state.model, _MOVES, self._rng)
        fresh = [i for i, move in enumerate(moves) if tuple(move.tolist()) not in state.seen]
        if not fresh:
            return None
        moves = moves[fresh]
        moves = moves[np.argsort(-state.gains(moves), kind="stable")[:_HOPEFUL]]
        # Among the best by mean, the one that could be best: moves are where the surrogate learns something new.
        order = np.argsort(-state.gains(moves, optimism=1.0), kind="stable")[:_RACERS]
        policy, look = self._raced([tuple(moves[i].tolist()) for i in order])
        # A local move is told to the sampler under the knobs of the policy it started from.
        knobs = self._ledger.knobs_of(_nearest(front, np.array(policy)).number)
        return Draft(self._ledger.ask_for(knobs), policy, "local", look)

    def _raced(self, policies: list[Assignment]) -> tuple[Assignment, float | None]:
        """The policy that is worth an evaluation, the first one unless a race finds a better one; its loss there."""
        if self._races is None or not self._races.worthwhile or len(policies) == 1:
            return policies[0], None
        values = self._state.model.predict(as_array(policies))

        def gains(losses: Floats, alive: list[int]) -> Floats:
            return self._state.added({**{name: found[alive] for name, found in values.items()}, LOSS: losses})

        winner = self._races.winner(policies, values[LOSS], gains)
        return policies[winner], self._races.look


def _nearest(front: list[Trial], policy: Ints) -> Trial:
    distances = (as_array([trial.assignment for trial in front]) != policy).sum(axis=1)
    return front[int(distances.argmin())]
