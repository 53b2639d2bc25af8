"""Units from slots: dominated options go, the dense one never does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, product

import numpy as np

from autocompress.core.layer import Layer, Role
from autocompress.core.policy import LayerPolicy, Step
from autocompress.estimate.table import Priced, build_table, spread
from autocompress.space.binding import Slot

DENSE, SMALL, HALF = LayerPolicy(), LayerPolicy((Step("int8"),)), LayerPolicy((Step("cast"),))


def layer(name: str, order: int) -> Layer:
    return Layer(name, "linear", name, {"linear": Role(name, 0, 8)}, {"linear": (8, 8)}, 64, order=order)


def slot(*names: str) -> Slot:
    return Slot(names[0], tuple(layer(name, i) for i, name in enumerate(names)), (DENSE, SMALL, HALF))


def table(slots: list[Slot], figures: Mapping[str, tuple[float, float, float]]):
    def price(one: Slot, _structures: object) -> list[Priced]:
        found = []
        for option in one.options:
            seconds, size, damage = figures[option.label()]
            found.append(Priced({x.fqn: option for x in one.layers}, seconds, size, {"t": damage} if damage else {}))
        return found

    parts = {x.fqn: x.fqn for one in slots for x in one.layers}
    return build_table(slots, parts, lambda _: 0.5, price, lambda _: None, lambda policy: policy.label())


def test_the_dense_option_stays_first_even_where_another_beats_it() -> None:
    better = {"dense": (1.0, 1.0, 0.0), "int8": (0.5, 0.25, 0.0), "cast": (0.7, 0.5, 0.1)}
    (unit,) = table([slot("a")], better).units
    assert [option.label for option in unit.options] == ["dense", "int8"], "cast is dominated, dense is not dropped"


def test_formats_follow_the_order_of_execution() -> None:
    found = table([slot("a", "b")], {"dense": (1.0, 1.0, 0.0), "int8": (0.5, 0.25, 0.2), "cast": (0.7, 0.5, 0.1)})
    assert [option.formats for option in found.units[0].options] == [
        ("dense", "dense"),
        ("cast", "cast"),
        ("int8", "int8"),
    ]
    assert found.policy((2,)).layers == {"a": SMALL, "b": SMALL}
    assert found.policy((0,)).layers == {}


def test_a_unit_without_an_option_left_is_no_unit() -> None:
    gone = {"dense": (1.0, 1.0, 0.0), "int8": (0.5, 0.25, float("inf")), "cast": (0.7, 0.5, float("inf"))}
    assert table([slot("a")], gone).units == ()

    def only_dense(one: Slot, _structures: object) -> list[Priced]:
        return [Priced({x.fqn: DENSE for x in one.layers}, 1.0, 1.0)]

    def nothing(_slot: Slot, _structures: object) -> list[Priced]:
        return []

    for price in (only_dense, nothing):
        found = build_table(
            [slot("a")], {"a": "a"}, lambda _: 0.5, price, lambda _: None, lambda policy: policy.label()
        )
        assert found.units == ()
        assert found.policy(()).layers == {}


def test_savings_of_structure_are_not_clipped() -> None:
    figures = {"dense": (0.0, 1.0, 0.0), "int8": (-0.5, 0.25, 0.1), "cast": (-0.2, 0.5, 0.05)}
    (unit,) = table([slot("a")], figures).units
    assert {option.label: option.costs["latency"] for option in unit.options} == {
        "dense": 0.0,
        "int8": -0.5,
        "cast": -0.2,
    }


def test_an_option_better_than_dense_keeps_its_sign() -> None:
    (unit,) = table([slot("a")], {"dense": (1.0, 1.0, 0.0), "int8": (0.5, 0.25, -0.2), "cast": (0.7, 0.5, 0.1)}).units
    assert [(option.label, option.damage) for option in unit.options] == [("dense", 0.0), ("int8", -0.2)]


def test_a_unit_without_options_is_left_out_and_named() -> None:
    priced = {"a": [], "b": [Priced({"b": DENSE}, 1.0, 1.0), Priced({"b": SMALL}, 0.5, 0.5, {"t": 0.1})]}
    slots = [slot("a"), slot("b")]
    parts = {"a": "a", "b": "b"}
    found = build_table(slots, parts, lambda _: 0.5, lambda one, _: priced[one.name], lambda _: None, lambda _: "")
    assert [unit.name for unit in found.units] == ["b"]
    assert found.idle == ("a",)


def test_many_structures_are_spread_lazily() -> None:
    assert list(spread([3, 2], 6)) == list(product(range(3), range(2)))
    sizes = [7] * 40  # more combinations than a list could hold
    chosen = list(islice(spread(sizes, 400), 400))
    assert len(set(chosen)) == len(chosen) == 400
    assert chosen[0] == (0,) * 40
    assert (6,) * 40 in chosen
    counts = np.array([[sum(one[axis] == level for one in chosen) for level in range(7)] for axis in range(40)])
    assert counts.min() > 20, "every option of every slot is tried about as often"
