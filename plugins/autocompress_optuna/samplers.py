"""Factories ``(seed, startup_trials) -> sampler``; Optuna is imported when one is asked for, not before."""

from __future__ import annotations

from typing import Any


def tpe(seed: int, startup_trials: int) -> Any:
    """Multivariate tree-structured Parzen estimator: models knobs jointly, knows about constraints.

    Source: Watanabe, "Tree-structured Parzen estimator" (arXiv:2304.11127).
    """
    from optuna.samplers import TPESampler

    return TPESampler(multivariate=True, seed=seed, n_startup_trials=startup_trials)


def nsga2(seed: int, startup_trials: int) -> Any:
    """The genetic algorithm NSGA-II; a generation is as large as the start-up phase, at least ten."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=max(10, startup_trials), seed=seed)


def random(seed: int, startup_trials: int) -> Any:  # noqa: ARG001
    """Independent uniform draws: the baseline that a sampler must beat."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)
