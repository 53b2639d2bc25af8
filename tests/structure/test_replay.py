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


def test_the_suffix_gives_what_the_whole_gives(family: Family) -> None:
    model = family.build().eval().requires_grad_(False)
    batches = [family.inputs(2), family.inputs(3)]
    layers = find_layers(model, batches[0])
    suffix = Suffix(model, layers, batches, most=2**20)
    changed = share(model)
    last = max((layer for layer in layers if layer.kind == "linear"), key=lambda layer: layer.order)
    linear = changed.get_submodule(last.fqn)
    linear.weight = torch.nn.Parameter(linear.weight * 1.5, requires_grad=False)
    for index, batch in enumerate(batches):
        whole = main_output(call(changed, batch))
        with suffix.from_layer(changed, last.order, index):
            part = main_output(call(changed, batch))
        torch.testing.assert_close(part, whole)
    if any(layer.kind == "block" for layer in layers):
        assert suffix.executed < suffix.possible
    torch.testing.assert_close(main_output(call(changed, batches[0])), main_output(call(changed, batches[0])))


def test_outputs_beyond_the_cap_are_computed_again(bert: Family) -> None:
    model = bert.build().eval().requires_grad_(False)
    layers = find_layers(model, bert.inputs(2))
    suffix = Suffix(model, layers, [bert.inputs(2)], most=0)
    with suffix.from_layer(model, 10**6, 0):
        call(model, bert.inputs(2))
    assert suffix.executed == suffix.possible
