"""Objectives of users and plugins: budgets in their own unit, priced per option where they are sums."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import nn

from autocompress.core.objective import BUILTIN, MAXIMIZE, Objective, parse_budget, parse_budgets
from autocompress.core.progress import silent
from autocompress.errors import BudgetError, UsageError
from autocompress.estimate.table import Priced, build_table
from autocompress.pipeline.custom import Custom, price_objectives
from autocompress.pipeline.plan import bind_space
from autocompress.pipeline.problem import make_problem, problem_notes
from autocompress.pipeline.reach import least_bytes, out_of_reach_line
from autocompress.pipeline.trials import Dense, weight_bytes
from autocompress.plugin import hooks as hookspecs
from autocompress.request.names import check_names
from autocompress.request.request import SearchRequest
from autocompress.request.setup import Setup, set_up
from autocompress.space.binding import Binding

ENERGY = Objective("energy", unit="J", function=lambda _: 2.0, budget="1J")


def parameters(model: nn.Module) -> float:
    return float(sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in model.buffers()))


def setup_of(*objectives: Objective, space: str = "prune") -> tuple[Setup, Binding]:
    request = SearchRequest(
        model=tiny.model(), budgets=("99%",), data=tiny.data(), space=space, objectives=objectives,
        task="embedding", sequence=tiny.SEQUENCE, threads=1,
    )  # fmt: skip
    setup = set_up(request, check_names(request), silent)
    return setup, bind_space(setup, silent)


def priced(*objectives: Objective, space: str = "prune") -> Custom:
    return price_objectives(*setup_of(*objectives, space=space))


def test_a_budget_in_the_objectives_own_unit() -> None:
    known = (*BUILTIN, ENERGY)
    assert [parse_budget(text, known).limit for text in ("energy=1J", "energy=1.5 J", "energy=2")] == [1.0, 1.5, 2.0]
    assert parse_budget("energy=80%", known).relative
    with pytest.raises(BudgetError, match="1J"):
        parse_budget("energy=20ms", known)
    with pytest.raises(BudgetError, match="unknown unit 'J'"):
        parse_budget("latency=1J", known)


def test_a_limit_of_its_own_holds_when_asked_for_only() -> None:
    known = (*BUILTIN, ENERGY)
    assert [budget.name for budget in parse_budgets(["70%"], known)] == ["latency"]
    assert [budget.name for budget in parse_budgets(["70%"], known, [ENERGY])] == ["latency", "energy"]
    named = parse_budgets(["70%", "energy"], known)[1]
    assert (named.name, named.limit) == ("energy", 1.0)
    assert parse_budgets(["energy=3J"], known)[0].limit == 3.0
    with pytest.raises(BudgetError, match="has no limit"):
        parse_budget("size", known)


def test_an_installed_objective_constrains_no_other_search() -> None:
    class Plugin:
        @hookspecs.hookimpl
        def autocompress_objectives(self) -> list[Objective]:
            return [ENERGY]

    names = check_names(SearchRequest(budgets=("70%",), plugins=(Plugin(),)))
    assert [budget.name for budget in names.budgets] == ["latency"]
    assert names.objectives == ()
    names = check_names(SearchRequest(budgets=("70%", "energy"), plugins=(Plugin(),)))
    assert [objective.name for objective in names.objectives] == ["energy"]


def test_sums_over_layers_are_priced_and_others_are_fitted() -> None:
    found = priced(
        Objective("params", function=parameters),
        Objective("spared", MAXIMIZE, function=lambda model: 1e6 - parameters(model)),
        Objective("norm", function=lambda model: float(sum(p.norm() for p in model.parameters()))),
        Objective("widest", function=lambda model: float(max(p.numel() for p in model.parameters()))),
        Objective("product", function=lambda model: parameters(model) ** 3 / 1e12),
    )
    dense = parameters(tiny.model())
    assert (found.dense["params"], found.dense["spared"]) == (dense, dense - 1e6)
    assert "weights" in found.fitted["norm"]
    assert "sum" in found.fitted["product"]
    assert found.least["params"] < 0.7 * dense
    assert found.least["spared"] == pytest.approx(found.least["params"] - 1e6)


def test_an_objective_that_fails_on_the_dense_model_is_one_line() -> None:
    with pytest.raises(UsageError, match="objective 'odd': ZeroDivisionError"):
        priced(Objective("odd", function=lambda _: 1 / 0))


def test_prices_are_what_the_whole_model_says() -> None:
    setup, binding = setup_of(Objective("params", function=parameters), space="full")
    found = price_objectives(setup, binding)
    options = {layer.fqn: slot.options[-1] for slot in binding.slots if slot.structural for layer in slot.layers}
    from autocompress.compress import build_layers
    from autocompress.core.policy import Policy
    from autocompress.structure.modules import installed

    changes = build_layers(setup.model, Policy(options), setup.layers, setup.registry)
    dense = parameters(setup.model)
    with installed(setup.model, changes.modules, changes.attributes):
        assert found.price(options)["params"] == parameters(setup.model) - dense


def test_a_parameter_budget_is_steered(tmp_path: Path) -> None:
    result = tiny.run(
        str(tmp_path / "run"), "params=75%", space="prune", objectives=[Objective("params", function=parameters)]
    )
    assert result.kept, result.verdict_line()
    assert result.verified["params"].median <= 0.75 * parameters(tiny.model())
    sweep = [trial for trial in result.trials if trial.stage == "sweep"]
    assert sum(trial.feasible for trial in sweep) >= len(sweep) // 2, "the sweep itself aims within the budget"
    assert any(trial.policy.digest() == result.policy.digest() for trial in result.front)


@pytest.mark.parametrize("budget", ["size=5%", "params=5%", "size=10kB"])
def test_what_arithmetic_excludes_is_refused_before_anything_is_measured(budget: str, tmp_path: Path) -> None:
    seen = []
    with pytest.raises(BudgetError, match="out of reach: the least that this space can reach is"):
        tiny.run(
            str(tmp_path / "run"), budget, space="prune", progress=seen.append,
            objectives=[Objective("params", function=parameters)],
        )  # fmt: skip
    assert {event.stage for event in seen} <= {"load", "bind"}
    assert not (tmp_path / "run").exists()


def test_the_least_size_is_that_of_the_smallest_policy() -> None:
    setup, binding = setup_of(space="prune")
    least = least_bytes(setup.model, binding, setup.layers, setup.registry)
    size = Objective("bytes", function=lambda model: float(weight_bytes(model)))
    found = priced(size)
    assert least == pytest.approx(found.least["bytes"], rel=0.01)
    assert 0 < least < weight_bytes(setup.model)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.zeros(4, 8, 32))


class Odd(nn.Module):
    """One linear in reach, and what is not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.conv, self.rnn = nn.Linear(8, 8), nn.Conv2d(3, 8, 3), nn.LSTM(8, 8)
        self.attention, self.experts, self.norm = nn.MultiheadAttention(8, 2), Experts(), nn.LayerNorm(8)


def test_parameters_without_an_option_are_named() -> None:
    layer = SimpleNamespace(modules=("linear",), tied=())
    slots = (SimpleNamespace(layers=(layer,), options=("dense", "int8")),)
    line = out_of_reach_line(Odd(), SimpleNamespace(slots=slots))  # type: ignore[arg-type]
    assert line.startswith("97 % of the parameters have no option: Experts (3-D weights) 47 %, LSTM 26 %")
    assert "MultiheadAttention (in_proj) " in line
    assert "Conv2d" in line
    assert out_of_reach_line(Odd().linear, SimpleNamespace(slots=())).startswith("100 % of")  # type: ignore[arg-type]


def test_objectives_beyond_four_are_told_and_keep_their_budgets() -> None:
    setup, binding = setup_of()
    table = build_table(
        binding.slots, {layer.fqn: layer.fqn for layer in setup.layers}, lambda _: 0.5, lambda *_: [],
        lambda chosen: Priced(dict(chosen), 1.0 - 0.1 * sum(len(one.steps) for one in chosen.values()), 10.0,
                              {"t": 0.1} if any(one.steps for one in chosen.values()) else {}),
        lambda _: "",
    )  # fmt: skip
    objectives = [Objective(name, function=parameters) for name in ("a", "b", "c", "d")]
    budgets = parse_budgets(["d=90%", "size=80%"], (*BUILTIN, *objectives))
    figures = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0, "size": 100.0}
    problem = make_problem(table, Dense(10.0, 10.0, 100.0, 100, 1.0), budgets, objectives, figures)
    assert problem.objectives == ("loss", "latency", "a", "b")
    assert {limit.name for limit in problem.limits} == {"d", "size"}
    notes = problem_notes(problem, budgets, objectives)
    assert any("c, d, size: measured" in note for note in notes), notes
    assert any("no combination of options keeps size <= 0.8 of dense" in note for note in notes), notes
