"""Ways to spend the same wall-clock on a real model: ours, its stages removed, and what one could use instead.

Every contender is a function of (match, clock, seed) that evaluates policies through the clock until it raises `Done`.
A clock starts at what the contender needs before its first policy: all pay for the dense model's figures, those that
use tables for the tables, those that use probes for the probes. A policy that another contender has evaluated is not
evaluated again, but costs the seconds that it took then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna

from autocompress.engine import LOSS, Outcome, Problem, loop
from autocompress.engine.hypervolume import hypervolume
from autocompress.engine.model import Model
from autocompress.engine.problem import Assignment, Evaluate
from autocompress.engine.proposals import lowest_fraction, next_fractions, sweep_fractions
from autocompress.engine.racing import Screen
from autocompress.pipeline.trials import Trials

LEAST = 1e-4
"""Losses below are told apart by nobody: the search itself compares qualities to four decimals."""


class Done(BaseException):
    """The time is up. Not an Exception, which the engine would take for a failed trial."""


@dataclass
class Clock:
    """Seconds of one contender; ``found`` are the values of what it evaluated in time, in order."""

    limit: float
    spent: float
    found: list[dict[str, float]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def timed(self, evaluate: Evaluate) -> Evaluate:
        """The same evaluation, charged."""

        def run(assignment: Assignment) -> Outcome:
            begun = time.monotonic()
            outcome = evaluate(assignment)
            now = time.monotonic()
            self.spent += begun - self._since + (outcome.seconds if outcome.cause is None else now - begun)
            self._since = now
            if self.spent > self.limit:
                raise Done
            if outcome.cause is None:
                self.found.append(dict(outcome.values))
            return outcome

        return run

    def screened(self, trials: Trials) -> Screen:
        """Races' looks at few rows, charged."""

        def run(assignment: Assignment, rung: int) -> list[float] | None:
            before = trials.screening
            self.spent += time.monotonic() - self._since
            found = trials.screen(assignment, rung)
            self._since = time.monotonic()
            self.spent += trials.screening - before
            if self.spent > self.limit:
                raise Done
            return found

        return run


@dataclass(frozen=True)
class Match:
    """One model under one latency budget.

    probed, cheap        problems on probed tables and on cheap scores alone, each with its evaluation.
    sizes, plain         options per layer, and the evaluation of an index into each: no tables, no units.
    """

    limit: float
    dense: float
    probed: Problem
    of_probed: Trials
    cheap: Problem
    of_cheap: Trials
    sizes: Sequence[int]
    plain: Evaluate
    reference_loss: float

    def volume(self, found: Sequence[dict[str, float]]) -> float:
        """Hypervolume in (log loss, latency as a share of the dense model's) of what keeps the budget."""
        points = [
            (np.log(max(values[LOSS], LEAST)), values["latency"] / self.dense)
            for values in found
            if values["latency"] <= self.limit and values[LOSS] < self.reference_loss
        ]
        reference = np.array([np.log(self.reference_loss), self.limit / self.dense])
        return hypervolume(np.array(points), reference) if points else 0.0

    def best(self, found: Sequence[dict[str, float]]) -> float:
        """The least loss within the budget."""
        return min((values[LOSS] for values in found if values["latency"] <= self.limit), default=float("inf"))


Contender = Callable[[Match, Clock, int], None]


def ours(stages: frozenset[str] = loop.STAGES, *, probes: bool = True, races: bool = True) -> Contender:
    """The engine, on probed tables or on cheap scores."""

    def run(match: Match, clock: Clock, seed: int) -> None:
        problem, evaluate = (match.probed, match.of_probed) if probes else (match.cheap, match.of_cheap)
        screen = clock.screened(evaluate) if races else None
        left = clock.limit - clock.spent
        loop.search(
            problem, clock.timed(evaluate), trials=sys.maxsize, seconds=left, seed=seed, stages=stages, screen=screen
        )

    return run


def swept(*, probes: bool) -> Contender:
    """The allocator at even targets, as many as fit, aimed by the latencies measured so far; then between them."""

    def run(match: Match, clock: Clock, _seed: int) -> None:
        problem, evaluate = (match.probed, match.of_probed) if probes else (match.cheap, match.of_cheap)
        model, timed = Model(problem), clock.timed(evaluate)
        done: dict[Assignment, dict[str, float]] = {}
        lowest = lowest_fraction(model)
        targets = sweep_fractions(model, 40, lowest)
        for index in range(10_000):
            fractions = targets[index] if index < len(targets) else next_fractions(model, index, lowest)
            policy = model.solve(fractions)
            if policy not in done:
                outcome = timed(policy)
                done[policy] = dict(outcome.values)
                model.learn_resources(list(done), list(done.values()))

    return run


def random_search(match: Match, clock: Clock, seed: int) -> None:
    """Uniform options, every layer for itself."""
    rng, evaluate = np.random.default_rng(seed), clock.timed(match.plain)
    while True:
        evaluate(tuple(int(rng.integers(size)) for size in match.sizes))


def sampled(sampler: Callable[[int], optuna.samplers.BaseSampler]) -> Contender:
    """Optuna with one categorical parameter per layer and the budget as its constraint."""

    def run(match: Match, clock: Clock, seed: int) -> None:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler(seed))
        evaluate = clock.timed(match.plain)
        while True:
            trial = study.ask()
            policy = [trial.suggest_categorical(f"l{i}", list(range(n))) for i, n in enumerate(match.sizes)]
            outcome = evaluate(tuple(policy))
            if outcome.cause is not None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            trial.set_constraint("latency", outcome.values["latency"] / match.limit - 1)
            study.tell(trial, [outcome.values[LOSS], outcome.values["latency"]])

    return run


def level_switch(match: Match, clock: Clock, seed: int) -> None:
    """EvoPress's idea (arXiv:2410.14649): per target, mutate the best policy by switches that cancel in cost.

    Levels are the options of a unit by their latency in the cost table; three latency targets share the time. It starts
    from the policies whose units all stand at the same share of their levels.
    """
    rng, evaluate, problem = np.random.default_rng(seed), clock.timed(match.of_cheap), match.cheap
    costs = [np.array([option.costs["latency"] for option in unit.options]) for unit in problem.units]
    levels = [np.argsort(-cost) for cost in costs]
    base = match.dense - sum(float(cost[0]) for cost in costs)

    def at(positions: Sequence[int]) -> Assignment:
        return tuple(int(level[min(p, len(level) - 1)]) for level, p in zip(levels, positions, strict=True))

    def latency(positions: Sequence[int]) -> float:
        return base + sum(float(cost[i]) for cost, i in zip(costs, at(positions), strict=True))

    uniform = [[round(share * (len(level) - 1)) for level in levels] for share in np.linspace(0, 1, 60)]
    targets = [match.limit * share for share in (0.97, 0.88, 0.8)]
    parents: list[tuple[list[int], float]] = []
    for target in targets:
        start = next((one for one in uniform if latency(one) <= target), uniform[-1])
        parents.append((start, evaluate(at(start)).values.get(LOSS, float("inf"))))
    while True:
        for i, target in enumerate(targets):
            policy, best = parents[i]
            for _ in range(200):
                child = list(policy)
                for _ in range(min(int(rng.integers(1, 4)), int(rng.integers(1, 4)))):
                    for unit, step in zip(rng.integers(len(levels), size=2), (1, -1), strict=True):
                        child[unit] = int(np.clip(child[unit] + step, 0, len(levels[unit]) - 1))
                if child != policy and latency(child) <= target:
                    break
            loss = evaluate(at(child)).values.get(LOSS, float("inf"))
            if loss < best:
                parents[i] = (child, loss)


RIVALS: dict[str, Contender] = {
    "sweep, probed tables": swept(probes=True),
    "sweep, cheap scores": swept(probes=False),
    "level switching": level_switch,
    "per-layer TPE": sampled(
        lambda seed: optuna.samplers.TPESampler(multivariate=True, constant_liar=False, seed=seed)
    ),
    "NSGA-II": sampled(lambda seed: optuna.samplers.NSGAIISampler(population_size=20, seed=seed)),
    "random": random_search,
}
REMOVED: dict[str, Contender] = {
    **{f"ours without {stage}": ours(loop.STAGES - {stage}) for stage in sorted(loop.STAGES)},
    "ours without probes": ours(probes=False),
    "ours without races": ours(races=False),
}
