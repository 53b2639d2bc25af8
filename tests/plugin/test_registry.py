"""Objectives of a stranger can be named in a budget, and every finished trial is told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autocompress.contracts.model import LoadedModel
from autocompress.core.objective import BUILTIN, Objective, parse_budgets
from autocompress.core.policy import Policy
from autocompress.core.trial import Trial
from autocompress.errors import BudgetError, PluginError
from autocompress.plugin.hooks import hookimpl
from autocompress.plugin.registry import at_fault, load_registry, nobody_leaves


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


def test_listeners_that_fail_are_named_and_the_others_are_told() -> None:
    class Raises(Energy):
        @hookimpl
        def autocompress_trial_finished(self, trial: Any) -> None:
            raise ValueError(f"deaf to {trial.number}")

        autocompress_objectives = autocompress_samplers = autocompress_search_spaces = None

    class Leaves(Raises):
        @hookimpl
        def autocompress_trial_finished(self) -> None:
            raise SystemExit(0)

    plugin = Energy()
    trial = Trial(3, Policy(), "tpe")
    failed = load_registry([Raises(), plugin, Leaves()]).tell_trial(trial)
    assert plugin.told == [trial]
    assert failed.keys() == {"Raises", "Leaves"}
    assert (
        "plugin 'Raises' of distribution 'Raises' fails in autocompress_trial_finished (ValueError: deaf to 3, "
        in (failed["Raises"])
    )
    assert "(SystemExit: 0, test_registry.py line " in failed["Leaves"]


def test_a_plugin_cannot_end_the_users_program() -> None:
    expected = r"called sys\.exit\(0\), test_registry\.py line \d+; a plugin must raise"
    with pytest.raises(PluginError, match=expected), nobody_leaves():
        raise SystemExit(0)
    with pytest.raises(KeyboardInterrupt), nobody_leaves():
        raise KeyboardInterrupt


def test_a_loader_is_known_by_its_distribution_and_what_is_no_model_is_refused() -> None:
    class Loader:
        @hookimpl
        def autocompress_load_model(self, source: str) -> Any:
            return {"zoo": LoadedModel(nn.Identity(), source, "other"), "bad": 7}.get(source)

    registry = load_registry([Loader()])
    given = {"task": None, "trust_remote_code": False, "allow_pickle": False}
    loaded, distribution = registry.load_model(source="zoo", **given)
    assert loaded is not None
    assert loaded.source == "zoo"
    assert distribution == ""  # pip knows no distribution of a plugin that was passed in
    assert load_registry().distribution("techniques", "int8") == "autocompress"
    assert registry.distribution("techniques", "absent") == ""
    with pytest.raises(PluginError, match=r"plugin 'Loader' .* loads 'bad' as a int: expected a LoadedModel or None"):
        registry.load_model(source="bad", **given)


def test_whose_fault_it_is_is_decided_by_the_code_that_was_called_last() -> None:
    def fault(call: Any) -> Any:
        try:
            call()
        except Exception as error:  # noqa: BLE001
            return at_fault(error)

    assert fault(lambda: parse_budgets(["what"])) is None  # core's own, and this test is no plugin
    assert fault(lambda: 1 / 0) is None


def test_a_name_that_is_taken_names_both_distributions() -> None:
    class Other(Energy):
        """The same offers again."""

    with pytest.raises(PluginError, match=r"'energy' is registered twice, by 'Energy' and by 'Other'"):
        load_registry([Energy(), Other()]).objectives  # noqa: B018


def test_an_unknown_name_gives_near_misses() -> None:
    with pytest.raises(PluginError, match=r"unknown technique 'int9'\. Did you mean 'int8'"):
        load_registry().technique("int9")
