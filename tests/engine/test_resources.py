"""Whole-model figures are learned from whole models: factors of techniques, format switches, and an honest residual."""

from __future__ import annotations

import numpy as np

from autocompress.engine import Option, Problem, Resource, Unit
from autocompress.engine.resources import predict, refit, spread, unfitted
from autocompress.engine.tables import build_tables

UNITS = 12
ALONE = {"a": 0.6, "b": 0.3}
"""What each technique saves of a unit when it is timed alone."""


def problem(residual: float = 0.03) -> Problem:
    options = (
        Option("dense", (), {"latency": 1.0, "size": 1.0}, 0.0),
        Option("a", ("a",), {"latency": 1.0 - ALONE["a"], "size": 0.25}, 0.2, formats=("int8", "int8")),
        Option("b", ("b",), {"latency": 1.0 - ALONE["b"], "size": 0.5}, 0.1),
        Option("both", ("a", "b"), {"latency": 0.2, "size": 0.2}, 0.3, formats=("", "int8")),
    )
    units = tuple(Unit(f"u{i}", "linear", i / UNITS, options) for i in range(UNITS))
    return Problem(units, (Resource("latency", 0.5, 1.0, residual), Resource("size")), objectives=("loss", "latency"))


def measured(policies: np.ndarray, factor: float, switch: float, noise: float, seed: int = 1) -> np.ndarray:
    """Technique a saves ``factor`` of what its table says; every change of format costs ``switch``."""
    tables = build_tables(problem())
    saved = np.array([0.0, ALONE["a"] * factor, ALONE["b"], 0.8 * (1 + factor) / 2])
    exact = 0.5 + (1.0 - saved[policies]).sum(axis=1) + switch * tables.switches(policies)
    return exact * np.exp(noise * np.random.default_rng(seed).normal(size=len(policies)))


def test_a_technique_that_saves_less_among_others_is_found_out() -> None:
    space, rng = problem(), np.random.default_rng(0)
    tables, prior = build_tables(space), space.resources[0]
    seen, later = rng.integers(4, size=(18, UNITS)), rng.integers(4, size=(200, UNITS))
    fitted = refit(tables, prior, seen, measured(seen, 0.7, 0.0, 0.01))
    truth = measured(later, 0.7, 0.0, 0.0)
    before = np.abs(predict(unfitted(tables, prior), tables, later) / truth - 1).mean()
    after = np.abs(predict(fitted, tables, later) / truth - 1).mean()
    assert before > 0.1
    assert after < 0.03
    assert np.array_equal(np.isfinite(fitted.costs), tables.valid)


def test_format_switches_are_priced_within_and_between_units() -> None:
    space, rng = problem(), np.random.default_rng(0)
    tables, prior = build_tables(space), space.resources[0]
    assert tables.switches(np.array([[0] * UNITS, [3] * UNITS, [1] * UNITS])).tolist() == [0, 2 * UNITS - 1, 0]
    seen = rng.integers(4, size=(40, UNITS))
    fitted = refit(tables, prior, seen, measured(seen, 1.0, 0.1, 0.002))
    assert 0.05 < fitted.line.switch < 0.12


def test_the_residual_claims_what_unseen_policies_show() -> None:
    space, rng = problem(residual=0.02), np.random.default_rng(3)
    tables, prior = build_tables(space), space.resources[0]
    inside = []
    for seed in range(30):
        seen, later = rng.integers(4, size=(18, UNITS)), rng.integers(4, size=(20, UNITS))
        fitted = refit(tables, prior, seen, measured(seen, 0.8, 0.03, 0.03, seed))
        errors = predict(fitted, tables, later) / measured(later, 0.8, 0.03, 0.03, seed + 1000) - 1
        claimed = spread(fitted, tables, prior, later) / predict(fitted, tables, later)
        inside += (np.abs(errors) <= 1.645 * claimed).tolist()
    assert 0.82 < np.mean(inside) < 0.98


def test_an_exact_resource_stays_as_it_is() -> None:
    space, rng = problem(), np.random.default_rng(0)
    tables, prior = build_tables(space), space.resources[1]
    seen = rng.integers(4, size=(20, UNITS))
    fitted = refit(tables, prior, seen, tables.cost_sums(seen)[:, 1])
    later = rng.integers(4, size=(50, UNITS))
    np.testing.assert_allclose(predict(fitted, tables, later), tables.cost_sums(later)[:, 1], rtol=1e-6)
    assert refit(tables, prior, seen[:3], tables.cost_sums(seen[:3])[:, 1]).line == prior
