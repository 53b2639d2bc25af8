"""A part of a model runs alone, or only what comes after a change."""

from __future__ import annotations

import torch
from families import Family

from autocompress.compress import share
from autocompress.structure import Suffix, call, find_layers, main_output, record, record_first


def test_a_submodule_replays_its_own_output(family: Family) -> None:
    model = family.build().eval().requires_grad_(False)
    inputs = family.inputs(2)
    owners = {layer.owner for layer in find_layers(model, inputs) if layer.kind in ("ffn", "attention", "linear")}
    for name, recorded in record(model, owners, inputs).items():
        assert recorded.error(model.get_submodule(name)) < 1e-10


def test_the_suffix_gives_what_the_whole_gives_wherever_the_change_is(family: Family) -> None:
    model = family.build().eval().requires_grad_(False)
    batches = [family.inputs(2), family.inputs(3)]
    layers = find_layers(model, batches[0])
    suffix = Suffix(model, layers, batches, most=2**20)
    for layer in [layer for layer in layers if layer.kind == "linear"]:
        changed = share(model)
        linear = changed.get_submodule(layer.fqn)
        linear.weight = torch.nn.Parameter(linear.weight * 1.5, requires_grad=False)
        for index, batch in enumerate(batches):
            whole = main_output(call(changed, batch))
            with suffix.from_layer(changed, layer.order, index):
                part = main_output(call(changed, batch))
            torch.testing.assert_close(part, whole, msg=layer.fqn)
        torch.testing.assert_close(main_output(call(changed, batches[1])), whole)
    if any(layer.kind == "block" for layer in layers):
        assert suffix.executed < 0.75 * suffix.possible


class Twice(torch.nn.Module):
    """Two blocks, run in turns: the output of a block is that of its last call only."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8)) for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index in (0, 1, 0, 1):
            x = x + self.blocks[index](x)
        return x


def test_a_block_that_runs_twice_is_never_skipped() -> None:
    model, inputs = Twice().eval().requires_grad_(False), {"x": torch.randn(3, 8)}
    suffix = Suffix(model, find_layers(model, inputs), [inputs], most=2**20)
    whole = call(model, inputs)
    with suffix.from_layer(model, 10**6, 0):
        torch.testing.assert_close(call(model, inputs), whole)
    assert suffix.executed == suffix.possible


def test_outputs_beyond_the_cap_are_computed_again(bert: Family) -> None:
    model = bert.build().eval().requires_grad_(False)
    layers = find_layers(model, bert.inputs(2))
    suffix = Suffix(model, layers, [bert.inputs(2)], most=0)
    with suffix.from_layer(model, 10**6, 0):
        call(model, bert.inputs(2))
    assert suffix.executed == suffix.possible


class InPlace(torch.nn.Module):
    """A part that changes what it is given, and a whole that changes what the part returned."""

    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x += 1
            return self.linear(x)

    def __init__(self) -> None:
        super().__init__()
        self.into, self.part = torch.nn.Linear(8, 8), InPlace.Part()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.into(x)
        return self.part(hidden).mul_(0) + hidden


def test_what_is_recorded_is_what_was_there_at_the_call() -> None:
    model, inputs = InPlace().eval().requires_grad_(False), {"x": torch.randn(3, 8)}
    found = record(model, ["into", "part", "part.linear"], inputs)
    assert [found[name].edits for name in ("into", "part", "part.linear")] == [False, True, False]
    torch.testing.assert_close(found["into"].output, model.into(inputs["x"]))
    torch.testing.assert_close(found["part.linear"].input, found["into"].output + 1)
    for _ in range(2):
        assert found["part"].error(model.part) < 1e-10, "a replay changed what the next one is called with"
    suffix = Suffix(model, find_layers(model, inputs), [inputs], most=2**20)
    whole = call(model, inputs)
    with suffix.from_layer(model, 10**6, 0):
        torch.testing.assert_close(call(model, inputs), whole)


class Counter:
    """An object that a model hands from part to part, as a key-value cache is."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []


class Counting(torch.nn.Module):
    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, counter: Counter) -> torch.Tensor:
            counter.seen.append(x)
            return self.linear(torch.cat(counter.seen))

    def __init__(self) -> None:
        super().__init__()
        self.part = Counting.Part()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x, counter=Counter())


def test_an_object_with_a_state_is_new_for_every_replay() -> None:
    model, inputs = Counting().eval().requires_grad_(False), {"x": torch.randn(3, 8)}
    found = record(model, ["part"], inputs)["part"]
    assert found.edits
    for _ in range(3):
        assert found.run(model.part).shape == (3, 8)


class Thrice(torch.nn.Module):
    """The second linear runs three times, on the rows whose first feature is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.rare = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[:, 0] < 0
        hidden = self.always(x)
        for _ in range(3):
            hidden[rows] = self.rare(hidden[rows])
        return hidden


def test_each_part_is_recorded_on_the_first_batch_that_reaches_it() -> None:
    model, x = Thrice().eval().requires_grad_(False), torch.rand(4, 8) + 0.1
    some = torch.cat([-x[:1], x[1:]])
    found = record_first(model, ["always", "rare"], [{"x": x}, {"x": some}])
    assert (found["always"].calls, found["rare"].calls) == (1, 0), "calls in the first batch"
    assert found["rare"].input is not None
    assert found["rare"].input.shape == (1, 8)
    assert record_first(model, ["rare"], [{"x": some}])["rare"].calls == 3
    assert record_first(model, ["rare"], [{"x": x}]) == {}
