"""The search: an allocator sweep, then TPE over knobs, targets solved on refitted tables, and local moves.

After the sweep, every trial belongs to one of three stages. "resolve" solves the next target of an even sequence on
tables refitted to all trials; "tpe" asks Optuna for knobs, maps them through the allocator and evaluates the one that
a surrogate expects most of; "local" switches one or two options of a front member. Each stage gets a least share,
the rest goes to the stage that lately added most hypervolume per trial.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from autocompress.engine.credit import Credit
from autocompress.engine.hypervolume import Improvement
from autocompress.engine.knobs import build_knobs
from autocompress.engine.ledger import Ledger
from autocompress.engine.model import Model
from autocompress.engine.problem import LOSS, Assignment, Evaluate, Outcome, Problem
from autocompress.engine.proposals import local_moves, lowest_fraction, neighbours, next_fractions, sweep_fractions
from autocompress.engine.racing import Races, Screen
from autocompress.engine.samplers import SamplerFactory, sampler_factory
from autocompress.engine.scale import hoped
from autocompress.engine.space import Space
from autocompress.engine.surrogate import GROUPS
from autocompress.engine.tables import Floats, Ints, as_array
from autocompress.engine.trial import Refit, SearchOutcome, Trial
from autocompress.errors import DiskFullError
from autocompress.storage.journal import open_study

logger = logging.getLogger(__name__)

STAGES = frozenset({"sweep", "resolve", "tpe", "screen", "refit", "local"})
_ROUND = 4
_SETTLED = 0.005
_AT_LIMIT = 3
_MOVES = 256
_HOPEFUL = 24
_RACERS = 4
_LEAST_SWEEP = 6


@dataclass(frozen=True)
class Stop:
    """When a search ends: trials in all (earlier runs included), seconds of this call, rounds without progress."""

    trials: int
    seconds: float | None = None
    patience: int | None = 3


def search(
    problem: Problem,
    evaluate: Evaluate,
    *,
    trials: int,
    seconds: float | None = None,
    seed: int = 0,
    storage: optuna.storages.BaseStorage | None = None,
    study_name: str = "autocompress",
    sampler: str | SamplerFactory = "tpe",
    on_trial: Callable[[Trial], None] | None = None,
    patience: int | None = None,
    stages: frozenset[str] = STAGES,
    screen: Screen | None = None,
) -> SearchOutcome:
    """Find the front of `problem` with at most `trials` evaluations; the same call on the same storage continues.

    seconds   time limit of this call; it is checked between evaluations.
    sampler   a name of `samplers.SAMPLERS`, or a function from a seed to a sampler of several objectives.
    patience  stop after this many rounds that add less than 0.5 % of hypervolume; None spends all that was given.
    stages    which parts to use, for ablation.
    screen    losses of a policy on few rows, for races between policies; None: the surrogate alone decides.
    Raises ValueError for a name that is no sampler's.
    """
    factory = sampler_factory(sampler)
    study = open_study(storage, study_name, len(problem.objectives))
    run = _Run(problem, evaluate, study, Stop(trials, seconds, patience), on_trial, stages, screen)
    study.sampler = factory(seed + len(run.trials))
    run.rng = np.random.default_rng([seed, len(run.trials)])
    run.go()
    return run.outcome()


class _Run:
    """State of one call of `search`."""

    def __init__(
        self,
        problem: Problem,
        evaluate: Evaluate,
        study: optuna.Study,
        stop: Stop,
        on_trial: Callable[[Trial], None] | None,
        stages: frozenset[str],
        screen: Screen | None,
    ) -> None:
        self.problem, self.evaluate, self.stop, self.on_trial, self.stages = problem, evaluate, stop, on_trial, stages
        self.started = time.monotonic()
        self.model = Model(problem)
        self.knobs = build_knobs(self.model.tables, self.model.swept)
        self.ledger = Ledger(problem, self.knobs, study)
        self.space = Space(problem)
        self.trials, self.pending = self.ledger.restore()
        self.seen: set[Assignment] = {trial.assignment for trial in self.trials}
        self.refits: list[Refit] = []
        self.rng = np.random.default_rng(0)
        self.lowest = lowest_fraction(self.model)
        self.stopped_because = ""
        self.resolves = sum(trial.stage == "resolve" for trial in self.trials)
        self.credit = Credit(stages)
        self.races = Races(screen) if screen is not None and LOSS in self.model.names else None
        self._volume: Improvement | None = None
        self._ideal: Floats = np.zeros(len(problem.objectives))

    def go(self) -> None:
        for policy, values, stage in self.pending:
            if self._over():
                return
            if policy not in self.seen:
                self._evaluate(self.ledger.ask_for(values), policy, stage)
        if "sweep" in self.stages:
            self._sweep()
        self._volume = None
        self.space.anchor([trial for trial in self.trials if trial.stage == "sweep"] or self.trials)
        best, settled = 0.0, 0
        while not self._over():
            self._refit()
            # A round grows with the trials, so that refitting stays a fixed share of the work.
            for _ in range(max(_ROUND, len(self.trials) // 25)):
                if not self._propose(self.credit.next_stage()) and not self._propose("local"):
                    self.stopped_because = "no policy is left that was not evaluated"
                    return
                if self._over():
                    return
            if self.stop.patience is None:
                continue
            now = self._progress()
            settled = settled + 1 if now - best < _SETTLED else 0
            best = max(best, now)
            if settled >= self.stop.patience:
                self.stopped_because = f"the front stopped moving: {settled} rounds below {_SETTLED:.1%}"
                return

    def _over(self) -> bool:
        if len(self.trials) >= self.stop.trials:
            self.stopped_because = f"trial limit of {self.stop.trials}"
        elif self.stop.seconds is not None and time.monotonic() - self.started >= self.stop.seconds:
            self.stopped_because = f"time limit of {self.stop.seconds:g} s"
        elif len(self.trials) >= 12 and all(trial.failed for trial in self.trials):
            self.stopped_because = f"all of {len(self.trials)} trials failed, the last one: {self.trials[-1].cause}"
        else:
            return False
        return True

    def _sweep(self) -> None:
        count = int(np.clip(self.stop.trials // 3, min(_LEAST_SWEEP, self.stop.trials), 18))
        left = count - sum(trial.stage == "sweep" for trial in self.trials)
        for fractions in sweep_fractions(self.model, count, self.lowest):
            if left <= 0 or self._over() or self._swept_enough():
                return
            policy = self.model.solve(fractions)  # no coupling is known yet but what format changes cost
            if policy is not None and policy not in self.seen:
                self._evaluate(self.ledger.ask_for(self.knobs.neutral(fractions)), policy, "sweep")
                left -= 1
                self._learn_resources()

    def _swept_enough(self) -> bool:
        """Whether the sweep has had its third of the trials that the time allows; its targets come widest first."""
        swept = [trial for trial in self.trials if trial.stage == "sweep"]
        spent = sum(trial.seconds for trial in swept)
        if self.stop.seconds is None or len(swept) < _LEAST_SWEEP or spent <= 0:
            return False
        return len(swept) >= self.stop.seconds / (spent / len(swept)) / 3

    def _propose(self, stage: str) -> bool:
        """Evaluate one new policy of this stage; False if it had none."""
        if stage == "tpe":
            return self._propose_tpe()
        if stage == "local":
            return self._propose_local()
        for _ in range(4):
            self.resolves += 1
            # The policy that uses the budget up is what most users came for: it is solved again on better tables.
            at_limit = self.problem.limits and self.resolves % _AT_LIMIT == 1
            axes = len(self.model.swept)
            fractions = (1.0,) * axes if at_limit else next_fractions(self.model, self.resolves, self.lowest)
            policy = self.model.solve(fractions)
            if policy is not None and policy not in self.seen:
                others: list[Assignment] = []
                if self.races is not None and self.races.worthwhile:
                    others = neighbours(policy, self.model, self.seen, _RACERS - 1, self.rng)
                policy = self._raced([policy, *others])
                self._evaluate(self.ledger.ask_for(self.knobs.neutral(fractions)), policy, stage)
                return True
        return False

    def _propose_tpe(self) -> bool:
        # Asking costs more the more trials there are; the screen matters most while there are few.
        count = 1 if "screen" not in self.stages else max(1, min(6, 400 // max(1, len(self.trials))))
        asked = self.ledger.ask(count)
        options: list[tuple[optuna.Trial, Assignment]] = []
        for trial in asked:
            policy = self.model.solve(self.knobs.fractions(trial.params), self.knobs, trial.params, coupled=False)
            if policy is not None and policy not in self.seen:
                options.append((trial, policy))
        if not options:
            self.ledger.discard(asked)
            return False
        order = np.argsort(-self._gains(as_array([p for _, p in options])), kind="stable")[:_RACERS]
        raced = self._raced([options[i][1] for i in order])
        chosen, policy = next(option for option in options if option[1] == raced)
        self.ledger.discard([trial for trial in asked if trial is not chosen])
        settled = self.model.solve(self.knobs.fractions(chosen.params), self.knobs, chosen.params)
        self._evaluate(chosen, policy if settled is None or settled in self.seen else settled, "tpe")
        return True

    def _propose_local(self) -> bool:
        front = self.space.front(self.trials) or [trial for trial in self.trials if not trial.failed]
        if not front:
            return False
        moves = local_moves([trial.assignment for trial in front], self.model, _MOVES, self.rng)
        fresh = [i for i, move in enumerate(moves) if tuple(move.tolist()) not in self.seen]
        if not fresh:
            return False
        moves = moves[fresh]
        moves = moves[np.argsort(-self._gains(moves), kind="stable")[:_HOPEFUL]]
        # Among the best by mean, the one that could be best: moves are where the surrogate learns something new.
        order = np.argsort(-self._gains(moves, optimism=1.0), kind="stable")[:_RACERS]
        policy = self._raced([tuple(moves[i].tolist()) for i in order])
        base = self._nearest(front, np.array(policy))
        self._evaluate(self.ledger.ask_for(self._knobs_of(base)), policy, "local")
        return True

    def _raced(self, policies: list[Assignment]) -> Assignment:
        """The policy that is worth an evaluation: the first one, unless a race finds a better one."""
        if self.races is None or not self.races.worthwhile or len(policies) == 1:
            return policies[0]
        values = self.model.predict(as_array(policies))

        def gains(losses: Floats, alive: list[int]) -> Floats:
            return self._added({**{name: found[alive] for name, found in values.items()}, LOSS: losses})

        return policies[self.races.winner(policies, values[LOSS], gains)]

    def _nearest(self, front: list[Trial], policy: Ints) -> Trial:
        distances = (as_array([trial.assignment for trial in front]) != policy).sum(axis=1)
        return front[int(distances.argmin())]

    def _knobs_of(self, trial: Trial) -> dict[str, float]:
        """A local move is told to the sampler under the knobs of the policy it started from."""
        return dict(self.ledger.study.get_trials(deepcopy=False)[trial.number].params)

    def _gains(self, policies: Ints, optimism: float = 0.0) -> Floats:
        """Predicted hypervolume added by each policy (C, L), the loss lowered by `optimism` standard deviations.

        Policies predicted beyond a limit rank last.
        """
        values = self.model.predict(policies)
        if optimism and LOSS in values:
            values[LOSS] = hoped(values[LOSS], optimism * self.model.surrogate.uncertainty(policies))
        return self._added(values)

    def _added(self, values: dict[str, Floats]) -> Floats:
        gains = self._front_volume().gain(self.space.points(values))
        for limit in self.problem.limits:
            excess = (values[limit.name] - limit.limit) / (abs(limit.limit) or 1.0)
            gains = gains - np.maximum(0.0, excess)
        return np.asarray(gains)

    def _front_volume(self) -> Improvement:
        """The front as something to improve on; built anew only when a trial moved the ideal point."""
        if self._volume is None:
            self._ideal = self.space.ideal(self.trials)
            front = self.space.front(self.trials)
            points = self.space.of(front) if front else np.zeros((0, len(self._ideal)))
            self._volume = Improvement(points, self.space.reference, self._ideal)
        return self._volume

    def _learn_resources(self) -> None:
        """Whole models are not the sum of their layers: even the plain sweep aims by what it has measured."""
        done = [trial for trial in self.trials if not trial.failed]
        if done:
            self.model.learn_resources([trial.assignment for trial in done], [trial.values for trial in done])

    def _refit(self) -> None:
        done = [trial for trial in self.trials if not trial.failed]
        if "refit" not in self.stages or len(done) < 4:
            return
        spreads = np.array([trial.spread.get(LOSS, 0.0) for trial in done])
        self.model.learn([trial.assignment for trial in done], [trial.values for trial in done], spreads)
        fit = self.model.surrogate.refit()
        self.lowest = lowest_fraction(self.model)
        scales = dict(zip(GROUPS, fit.scales, strict=True))
        lines = tuple(self.model.resources.values())
        self.refits.append(Refit(len(self.trials), fit.error, fit.misfit, scales, lines))

    def _evaluate(self, asked: optuna.Trial, policy: Assignment, stage: str) -> None:
        forecast = self.model.forecast(policy)
        self.ledger.start(asked, policy, stage, forecast)
        self.seen.add(policy)
        try:
            outcome = self.evaluate(policy)
        except DiskFullError:
            raise
        except (Exception, SystemExit) as error:
            logger.warning("trial %d failed: %s", asked.number, error, exc_info=True)
            outcome = Outcome({}, cause=f"{type(error).__name__}: {error}")
        trial = self.ledger.finish(asked, policy, stage, outcome, forecast)
        self._reward(trial)
        if self.races is not None and not trial.failed and stage != "sweep":
            self.races.told(trial.predicted[LOSS], trial.values[LOSS])
        self.trials.append(trial)
        if self.on_trial is not None:
            self.on_trial(trial)

    def _reward(self, trial: Trial) -> None:
        """Credit a trial's stage with the hypervolume, as a share of the front's box, that it added."""
        if not np.all(np.isfinite(self.space.reference)):
            return
        gain = 0.0
        if trial.feasible:
            volume, point = self._front_volume(), self.space.of([trial])
            box = float(np.prod(np.maximum(self.space.reference - self._ideal, 1e-12)))
            gain = float(volume.gain(point)[0]) / box
            volume.add(point[0])
            if np.any(point[0] < self._ideal):
                self._volume = None
        self.credit.add(trial.stage, gain)

    def _progress(self) -> float:
        return self.space.dominated(self.space.front(self.trials), self.space.ideal(self.trials))

    def outcome(self) -> SearchOutcome:
        return self.space.outcome(self.trials, self.refits, self.stopped_because)
