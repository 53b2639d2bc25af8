"""Binding with every option run in place: first in a process of its own, then here, for its cause."""

from __future__ import annotations

from collections.abc import Callable

from autocompress.compress.untouched import untouched
from autocompress.errors import NothingRunsError, SpaceError
from autocompress.layer import Layer
from autocompress.policy import LayerPolicy, Step
from autocompress.run.in_place import prover
from autocompress.run.proof import Proof, prove
from autocompress.run.proving import nothing_runs
from autocompress.run.setup import Setup
from autocompress.space import Binding, bind

Runs = Callable[[Layer, LayerPolicy], str]


def bind_proven(setup: Setup) -> Binding:
    """The space on this model without what does not run, hangs or kills its process where its layer stands.

    Raises SpaceError for a space that offers nothing, NothingRunsError when nothing of what it offers runs.
    """
    runs, failed = prover(setup), {}
    proof = _proof(setup, runs)

    def cause(layer: Layer, option: LayerPolicy) -> str:
        found = proof.cause(layer, _together(option)) or runs(layer, option)
        if found:
            failed[f"{option.label()} on {layer.fqn}"] = found
        return found

    try:
        return bind(setup.space, setup.layers, setup.registry, setup.target, cause)
    except SpaceError as error:
        if failed:
            raise NothingRunsError(nothing_runs(setup.space.name, failed)) from error
        raise


def _proof(setup: Setup, runs: Runs) -> Proof:
    """What dies in a fork; empty on a GPU, and where not even the dense model survives one."""
    asked: dict[tuple[str, str], tuple[Layer, LayerPolicy]] = {}

    def ask(layer: Layer, option: LayerPolicy) -> str:
        asked[layer.fqn, _together(option).technique] = layer, option
        return ""

    bind(setup.space, setup.layers, setup.registry, setup.target, ask)
    cases = sorted(((layer, _together(option)) for layer, option in asked.values()), key=lambda case: case[0].n_params)
    if setup.target.device != "cpu" or not cases:
        return Proof()

    def dense(layer: Layer, _step: Step) -> None:
        runs(layer, LayerPolicy())

    def run(layer: Layer, step: Step) -> None:
        # A cause that it gives, it gives here too, and is told then: only what ends the process counts, and changes.
        modules = [setup.model.get_submodule(fqn) for fqn in layer.modules]
        with untouched(modules, f"{step.label()} on {layer.fqn!r}"):
            runs(*asked[layer.fqn, step.technique])

    if prove(cases[-1:], dense, lambda _: None).refused:
        return Proof()
    return prove(cases, run, lambda _: None)


def _together(option: LayerPolicy) -> Step:
    """A combination of techniques as one step: what it is known by in a proof."""
    return Step("+".join(step.technique for step in option.steps))
