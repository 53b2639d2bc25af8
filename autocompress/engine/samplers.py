"""Optuna's samplers for the knobs, by name; each answers for several objectives and starts from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import optuna

SamplerFactory = Callable[[int], optuna.samplers.BaseSampler]


def tpe(seed: int, workers: int = 1) -> optuna.samplers.BaseSampler:
    """Optuna's multivariate TPE; it starts at once, since the sweep's trials are its start-up."""
    return optuna.samplers.TPESampler(
        multivariate=True, constant_liar=workers > 1, n_startup_trials=4, seed=seed, n_ei_candidates=24
    )


def nsga2(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's NSGA-II with small generations, since trials are few."""
    return optuna.samplers.NSGAIISampler(population_size=10, seed=seed)


def random(seed: int) -> optuna.samplers.BaseSampler:
    """Independent uniform draws."""
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: Mapping[str, SamplerFactory] = {"tpe": tpe, "nsga2": nsga2, "random": random}


def sampler_factory(sampler: str | SamplerFactory) -> SamplerFactory:
    """The factory of a name, or the factory itself. Raises ValueError for a name that is not in SAMPLERS."""
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler {sampler!r} is not known: expected one of {', '.join(SAMPLERS)}, or a function")
    return SAMPLERS[sampler]
