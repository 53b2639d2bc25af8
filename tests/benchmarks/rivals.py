"""Other ways to spend the same evaluations: random, NSGA-II, per-layer TPE, level switching, plain allocator sweeps.

Each rival is a function of (truth, front, seed, trials) that returns the policies it evaluated, in order. All see the
same noisy evaluations, limits and, where they use one, the same tables and whole-model latency line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import optuna

from autocompress.engine.model import Model
from autocompress.engine.problem import Assignment, Problem
from autocompress.engine.proposals import lowest_fraction, sweep_fractions
from tests.benchmarks.synthetic import BITS, BUDGETS, GRID, MEMORY, RANKS, RATIOS, Ints, Synthetic

Rival = Callable[[Synthetic, Problem, int, int], list[Assignment]]


def excess(problem: Problem, values: dict[str, float]) -> list[float]:
    """Normalised constraint values, <= 0 within."""
    return [(values[limit.name] - limit.limit) / limit.limit for limit in problem.limits]


def random_search(truth: Synthetic, _problem: Problem, seed: int, trials: int) -> list[Assignment]:
    """Uniform options, every layer for itself."""
    rng = np.random.default_rng(seed)
    return [tuple(row.tolist()) for row in rng.integers(len(GRID), size=(trials, truth.n_layers))]


def _optuna(truth: Synthetic, problem: Problem, sampler: optuna.samplers.BaseSampler, trials: int) -> list[Assignment]:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    found: list[Assignment] = []
    index = {key: j for j, key in enumerate(GRID)}
    for _ in range(trials):
        trial = study.ask()
        policy = tuple(
            index[
                trial.suggest_categorical(f"b{i}", list(range(len(BITS)))),
                trial.suggest_int(f"p{i}", 0, len(RATIOS) - 1),
                trial.suggest_int(f"r{i}", 0, len(RANKS) - 1),
            ]
            for i in range(truth.n_layers)
        )
        found.append(policy)
        values = dict(truth.evaluate(policy).values)
        for limit, value in zip(problem.limits, excess(problem, values), strict=True):
            trial.set_constraint(limit.name, value)
        study.tell(trial, [values["loss"], values["latency"]])
    return found


def nsga2(truth: Synthetic, problem: Problem, seed: int, trials: int) -> list[Assignment]:
    """Optuna's NSGA-II, population 50, three parameters per layer."""
    return _optuna(truth, problem, optuna.samplers.NSGAIISampler(population_size=50, seed=seed), trials)


def layer_tpe(truth: Synthetic, problem: Problem, seed: int, trials: int) -> list[Assignment]:
    """Optuna's multivariate TPE, three parameters per layer."""
    return _optuna(
        truth, problem, optuna.samplers.TPESampler(multivariate=True, constant_liar=False, seed=seed), trials
    )


def level_switch(truth: Synthetic, problem: Problem, seed: int, trials: int) -> list[Assignment]:
    """EvoPress's idea (arXiv:2410.14649): per target, mutate the best policy by switches that cancel in cost.

    Five latency targets share the evaluations; every offspring is drawn until its latency and memory fit.
    """
    rng = np.random.default_rng(seed)
    line = problem.resources[0]
    targets = [BUDGETS[0] * (1 - 0.1 * i) for i in range(5)]
    found: list[Assignment] = []
    parents: list[tuple[Ints, float]] = []

    def cost(policy: Ints) -> tuple[float, float]:
        rows = np.arange(truth.n_layers)
        return line.slope * float(truth.latency[rows, policy].sum()), float(truth.memory[rows, policy].sum())

    def score(policy: Ints) -> float:
        found.append(tuple(policy.tolist()))
        return float(truth.evaluate(found[-1]).values["loss"])

    # EvoPress starts from a uniform policy; of those that fit, the one with the least predicted damage.
    damage = np.array([[option.damage for option in unit.options] for unit in problem.units]).sum(axis=0)
    uniform = [np.full(truth.n_layers, j) for j in range(len(GRID))]
    for target in targets:
        fits = [p for p in uniform if cost(p)[0] <= target and cost(p)[1] <= MEMORY] or uniform[-1:]
        start = min(fits, key=lambda p: float(damage[p[0]]))
        parents.append((start, score(start)))
    while len(found) < trials:
        for i, target in enumerate(targets):
            policy, best = parents[i]
            for _ in range(200):
                child = policy.copy()
                for _ in range(min(int(rng.integers(1, 4)), int(rng.integers(1, 4)))):
                    for unit, step in zip(rng.integers(truth.n_layers, size=2), (1, -1), strict=True):
                        child[unit] = _step(int(child[unit]), step, rng)
                latency, memory = cost(child)
                if latency <= target and memory <= MEMORY:
                    break
            value = score(child)
            if value < best:
                parents[i] = (child, value)
    return found[:trials]


def _step(option: int, step: int, rng: np.random.Generator) -> int:
    """One level more (+1) or less (-1) compressed in one of the three techniques."""
    levels = list(GRID[option])
    axis = int(rng.integers(3))
    levels[axis] = int(np.clip(levels[axis] + step, 0, (len(BITS), len(RATIOS), len(RANKS))[axis] - 1))
    return GRID.index((levels[0], levels[1], levels[2]))


def sweep(_truth: Synthetic, problem: Problem, _seed: int, trials: int) -> list[Assignment]:
    """Plain allocator sweep: as many even targets as there are trials, each solved on the tables as given."""
    model = Model(problem)
    lowest = lowest_fraction(model)
    return list(_distinct(model, sweep_fractions(model, trials, lowest)))


def _distinct(model: Model, targets: list[tuple[float, ...]]) -> Iterator[Assignment]:
    for fractions in targets:
        policy = model.solve(fractions, coupled=False)
        if policy is not None:
            yield policy
