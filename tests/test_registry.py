"""Objectives of a stranger can be named in a budget, and every finished trial is told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from autocompress.errors import BudgetError, PluginError
from autocompress.hookspecs import hookimpl
from autocompress.objective import BUILTIN, Objective, parse_budgets
from autocompress.plugins import load_registry
from autocompress.policy import Policy
from autocompress.trial import Trial


class Energy:
    """A plugin with an objective that listens to trials."""

    def __init__(self) -> None:
        self.told: list[Trial] = []

    @hookimpl
    def autocompress_objectives(self) -> Iterable[Objective]:
        return [Objective("energy", "minimize", "J", function=float)]

    @hookimpl
    def autocompress_trial_finished(self, trial: Any) -> None:
        self.told.append(trial)

    @hookimpl
    def autocompress_samplers(self) -> dict[str, Callable[[int, int], Any]]:
        return {"mine": lambda seed, startup: (seed, startup)}

    @hookimpl
    def autocompress_search_spaces(self) -> Iterable[Path]:
        return [Path("somewhere/mine.toml")]


def test_an_objective_of_a_plugin_takes_a_budget() -> None:
    registry = load_registry([Energy()])
    (budget,) = parse_budgets(["energy=3"], (*BUILTIN, *registry.objectives.values()))
    assert budget.describe() == "energy <= 3.0000 J"
    with pytest.raises(BudgetError, match="Did you mean 'energy'"):
        parse_budgets(["enrgy=3"], (*BUILTIN, *registry.objectives.values()))


def test_finished_trials_are_told() -> None:
    plugin = Energy()
    registry = load_registry([plugin])
    trial = Trial(3, Policy(), "tpe")
    registry.manager.hook.autocompress_trial_finished(trial=trial)
    assert plugin.told == [trial]


def test_samplers_and_spaces_of_a_plugin_stand_beside_the_built_in_ones() -> None:
    registry = load_registry([Energy()])
    assert registry.samplers["mine"](1, 2) == (1, 2)
    assert list(registry.search_spaces) == sorted(registry.search_spaces)
    assert registry.search_spaces["mine"] == Path("somewhere/mine.toml")
    assert registry.origin["search_spaces:mine"] == "Energy"


def test_a_name_that_is_taken_names_both_distributions() -> None:
    class Other(Energy):
        """The same offers again."""

    with pytest.raises(PluginError, match=r"'energy' is registered twice, by 'Energy' and by 'Other'"):
        load_registry([Energy(), Other()]).objectives  # noqa: B018


def test_an_unknown_name_gives_near_misses() -> None:
    with pytest.raises(PluginError, match=r"unknown technique 'int9'\. Did you mean 'int8'"):
        load_registry().technique("int9")
