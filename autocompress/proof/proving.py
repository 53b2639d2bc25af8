"""The proof within a search: made once for a model and a space, remembered, and told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from autocompress.compress import Workbench
from autocompress.compress.untouched import untouched
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Step
from autocompress.core.progress import Event, Progress
from autocompress.errors import NothingRunsError
from autocompress.estimate.table import Table
from autocompress.proof.inside import Inside
from autocompress.proof.proof import Proof, Trier, cases_of, prove
from autocompress.request.keys import Contexts, digest
from autocompress.request.setup import Setup
from autocompress.space.binding import Binding
from autocompress.storage.store import Store
from autocompress.structure import record_first


class _FoundDangerousError(Exception):
    """Something was refused: that stays in this run folder, since a busy machine may be what made it slow."""


def built(setup: Setup, binding: Binding) -> Binding:
    """The binding without what hangs, kills its process or changes the dense model when it is built and run in place.

    That comes first: whatever is priced later is built in this process. Raises NothingRunsError for none.
    """
    cases = cases_of(binding.slots)
    if setup.target.device != "cpu":
        return binding
    inside = Inside(setup.model, setup.layers, setup.registry, [setup.example, *setup.rows["calibration"]])

    def run(layer: Layer, step: Step) -> None:
        # A cause that it gives, it gives here too, and is told then: only what ends the process counts, and changes.
        with untouched([setup.model.get_submodule(fqn) for fqn in layer.modules], f"{step.label()} on {layer.fqn!r}"):
            inside.cause(layer, LayerPolicy((step,)))

    def dense(layer: Layer, _step: Step) -> None:
        inside.cause(layer, LayerPolicy())

    if prove(cases[-1:], dense, lambda _: None).refused:
        return binding
    proof = prove(cases, run, lambda _: None)
    left = proof.without(binding)
    if not left.slots:
        raise NothingRunsError(nothing_runs(setup.space.name, {key[1]: cause for key, cause in proof.refused.items()}))
    return left


def proven(
    setup: Setup, binding: Binding, bench: Workbench, store: Store, contexts: Contexts, progress: Progress
) -> Binding:
    """The binding without what hangs, kills its process or changes the dense model. Raises NothingRunsError for none.

    On a GPU nothing is proven: a fork cannot use the parent's device. Nor is it where the dense model does not survive
    a fork: that says nothing about any option.
    """
    cases = cases_of(binding.slots)
    if setup.target.device != "cpu":
        return binding
    named = digest([[layer.fqn, step.label()] for layer, step in cases])
    ours, shared = f"proof refused/-/{named}", f"proof/{contexts.model}/{named}"
    proof = Proof()

    def measure() -> bool:
        nonlocal proof
        if any(setup.registry.technique(step.technique).needs_calibration for _, step in cases):
            len(bench.statistics)  # collected here, once, and not by each process anew
        owners = {layer.owner for layer, _ in cases}
        calls = record_first(setup.model, owners, [setup.example, *setup.rows["calibration"]])
        tried = Trier(bench, setup.registry, calls)
        if prove(cases[-1:], lambda layer, _: tried.dense(layer), lambda _: None).refused:
            words = "a fork of this process cannot run the model here: options are not tried in one first"
            progress(Event("cost", message=words, note=True))
            return True
        proof = prove(cases, tried, lambda what: progress(Event("cost", message=f"first run, in a process: {what}")))
        if proof.refused:
            store.put(ours, [[*key, cause] for key, cause in proof.refused.items()])
            raise _FoundDangerousError
        return True

    if ours in store:
        proof.refused.update(_read(store.get(ours)))
    else:
        with suppress(_FoundDangerousError):
            store.memo(shared, measure)
    for cause in dict.fromkeys(proof.refused.values()):
        progress(Event("cost", message=f"not offered: {cause}", note=True))
    left = proof.without(binding)
    if not left.slots:
        raise NothingRunsError(nothing_runs(setup.space.name, {key[1]: cause for key, cause in proof.refused.items()}))
    return left


def check_some_bound(space: str, binding: Binding, causes: Mapping[str, str]) -> None:
    """Raise NothingRunsError when no layer has an option left."""
    if not binding.slots:
        raise NothingRunsError(nothing_runs(space, causes))


def check_some_run(space: str, table: Table, causes: Mapping[str, str]) -> None:
    """Raise NothingRunsError when options failed and none is left; that none pays here is an answer, not a fault."""
    if causes and all(len(unit.options) < 2 for unit in table.units):
        raise NothingRunsError(nothing_runs(space, causes))


def nothing_runs(space: str, causes: Mapping[str, str]) -> str:
    """One cause for each technique; ``causes`` are by "option on layer"."""
    first: dict[str, str] = {}
    for where, cause in causes.items():
        first.setdefault(where.partition(" on ")[0].partition("(")[0], cause)
    told = list(dict.fromkeys(first.values()))
    more = f"; and {len(told) - 3} more causes" if len(told) > 3 else ""
    return f"no option of space {space!r} runs on this model: {'; '.join(told[:3])}{more}"


def _read(stored: list[list[str]]) -> dict[tuple[str, str, str, str], str]:
    return {(kind, technique, label, shapes): cause for kind, technique, label, shapes, cause in stored}
