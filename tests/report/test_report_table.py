"""The printed table and lines say what was measured, and print untrusted text as it is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from rich.console import Console

from autocompress.core.measurement import Measurement
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.core.trial import Trial
from autocompress.pipeline.result import SearchResult
from autocompress.report.bench import agreement_line, bench_table
from autocompress.report.summary import (
    accuracy_line,
    additivity_line,
    held_out_line,
    nearest_lines,
    sweep_line,
    verified_line,
)
from autocompress.report.table import front_table, interval, pick

Finished = Callable[..., SearchResult]


def printed(renderable: object) -> list[str]:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def test_dense_comes_first_and_the_chosen_row_is_marked(finished: Finished) -> None:
    kept = printed(front_table(finished(best=SimpleNamespace(path="best"))))
    assert kept[1].split()[:2] == ["dense", "1.0000"]
    assert "37.2-38.9 ms" in kept[1]
    assert sum(line.startswith("kept") for line in kept) == 1
    missed = printed(front_table(finished()))
    assert sum(line.startswith("nearest") for line in missed) == 1
    assert not any(line.startswith("kept") for line in missed)


def test_every_row_has_prediction_measurement_and_interval(finished: Finished) -> None:
    result = finished()
    lines = printed(front_table(result))
    assert "mean cosine" in lines[0]
    for word in ("memory", "size", "latency predicted", "measured", "interval", "policy"):
        assert word in lines[0]
    assert len(lines) == 2 + len(result.front)


def test_markup_in_a_technique_name_is_printed_as_it_is(finished: Finished) -> None:
    base = finished()
    strange = Policy({"a": LayerPolicy((Step("[red]x[/red]"),))})
    front = (Trial(7, strange, "tpe", values=base.front[0].values),)
    assert "[red]x[/red]" in "\n".join(printed(front_table(finished(front=front))))


def test_a_long_front_shows_its_ends_and_the_choice() -> None:
    policies = [Policy({f"l{i}": LayerPolicy((Step("int8"),))}) for i in range(50)]
    front = [Trial(i, policy, "tpe") for i, policy in enumerate(policies)]
    for chosen in range(50):
        numbers = [trial.number for trial in pick(front, policies[chosen], rows=8)]
        assert len(numbers) == 8
        assert numbers == sorted(set(numbers))
        assert {0, 49, chosen} <= set(numbers)


def test_intervals_say_the_unit_once() -> None:
    assert interval(0.0191, 0.0203, "s") == "19.1-20.3 ms"
    assert interval(0.00091, 0.0011, "s") == "910 µs - 1.1 ms"
    assert interval(5.0, 5.0, "B") == "exact"
    assert interval(None, 1.0, "s") == ""


def test_held_out_lines_hold_the_figures(finished: Finished) -> None:
    result = finished()
    assert held_out_line(result) == "test split: mean cosine 0.9812, p5 0.9523, retrieval 0.8710 (dense 0.8820)"
    assert "0.9 by the plain sweep, 0.93 with the search (+3.3%)" in sweep_line(result)
    assert "off by 2.1%" in accuracy_line(result)
    assert "sd 2.0%, claimed 2.5%" in accuracy_line(result)
    assert "1.3 times" in additivity_line(result)
    assert "latency" in verified_line(result)
    empty = finished(test={}, sweep={}, accuracy={}, verified={})
    assert [
        held_out_line(empty),
        sweep_line(empty),
        accuracy_line(empty),
        additivity_line(empty),
        verified_line(empty),
    ] == [""] * 5


def test_a_miss_names_the_nearest_policy_and_every_gap(finished: Finished) -> None:
    base = finished()
    missing = next(trial for trial in base.trials if trial.constraints.get("latency", 0) > 0.1)
    lines = nearest_lines(finished(nearest=missing, policy=missing.policy))
    assert lines[0].startswith("nearest policy: ")
    assert lines[1] == f"  misses latency <= 0.75 of dense by {missing.constraints['latency']:.1%} of the limit"
    assert len(lines) == 2
    assert nearest_lines(finished(best=SimpleNamespace(path="best"))) == ()


def test_a_second_measurement_agrees_when_the_intervals_meet() -> None:
    now = {"latency": Measurement(((1.0,),), 1.0, 0.9, 1.1), "ratio.latency": Measurement.exact(0.7)}
    report = SimpleNamespace(measurements=now)
    meeting, apart = Measurement(((1.2,),), 1.2, 1.05, 1.3), Measurement(((2.0,),), 2.0, 1.9, 2.1)
    assert agreement_line(report, {"latency": meeting}).startswith("agrees")
    assert agreement_line(report, {"latency": apart}).startswith("differs")
    assert agreement_line(report, {}) == ""
    lines = printed(bench_table(report, {"latency": apart}))
    assert "1.9-2.1 s" in lines[1]
    assert "0.7000" in lines[2]
