"""A part of a model runs alone, or only what comes after a change."""

from __future__ import annotations

import torch
from families import Family

from autocompress.compress import share
from autocompress.structure import Suffix, call, find_layers, main_output, record


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
