"""From a set-up search to tables: bind, cost, sensitivity, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autocompress.compress import LazyStatistics, StatisticsStore, Workbench, collect_statistics
from autocompress.contracts.evaluator import Batch, inputs_of
from autocompress.contracts.technique import Stage
from autocompress.core.policy import LayerPolicy
from autocompress.core.progress import Event, Progress
from autocompress.estimate.latency import CostTable
from autocompress.estimate.loss import Sensitivity
from autocompress.estimate.pricing import Prices
from autocompress.estimate.table import Table, build_table
from autocompress.pipeline.custom import Custom
from autocompress.pipeline.reach import out_of_reach_line
from autocompress.pipeline.trials import Dense, weight_bytes
from autocompress.plugin.registry import Registry
from autocompress.proof.inside import Inside, proven_inside
from autocompress.proof.proving import built, check_some_bound, check_some_run, proven
from autocompress.request.keys import Contexts
from autocompress.request.setup import Setup
from autocompress.space.binding import Binding, bind
from autocompress.storage.store import Store


@dataclass(frozen=True)
class Plan:
    """What the search loop needs."""

    bench: Workbench
    binding: Binding
    table: Table
    statistics: StatisticsStore
    probe_share: float


def bind_space(setup: Setup, progress: Progress) -> Binding:
    """The space on this model and target; raises SpaceError before anything is measured or written."""
    progress(Event("bind", message="binding the search space"))
    binding = built(setup, bind(setup.space, setup.layers, setup.registry, setup.target))
    _tell(progress, "bind", "not offered", binding.dropped)
    progress(Event("bind", message=out_of_reach_line(setup.model, binding), note=True))
    return binding


def make_plan(
    setup: Setup,
    binding: Binding,
    store: Store,
    contexts: Contexts,
    latency: float,
    progress: Progress,
    *,
    custom: Custom | None = None,
    probes: bool = True,
) -> Plan:
    """Stages cost and sensitivity; every table entry and probe is taken from the store where it is known.

    latency   of the dense model, in seconds.   custom   prices of custom objectives.
    probes    False leaves the cheap scores as they are, for comparison.
    Raises SpaceError when no option is left.
    """
    linears = [layer.fqn for layer in setup.layers if layer.kind == "linear"]
    statistics = LazyStatistics(lambda: collect_statistics(setup.model, linears, setup.rows["calibration"]))
    bench = Workbench(setup.model, setup.layers, setup.registry, statistics)
    offered = binding.dropped
    binding = proven(setup, binding, bench, store, contexts, progress)
    calibration = setup.rows["calibration"]
    batches = [setup.example, *calibration]
    binding, here = proven_inside(Inside(setup.model, setup.layers, setup.registry, batches), binding)
    _tell(progress, "cost", "does not run where it stands", here)
    failed = {where: why for where, why in binding.dropped.items() if where not in offered}
    check_some_bound(setup.space.name, binding, failed)
    prices = Prices(setup.model, setup.layers, binding, setup.registry, batches, progress)
    table = CostTable(
        setup.registry,
        setup.target,
        store.memo,
        contexts.kernels,
        contexts.model,
        weight_bytes(setup.model),
        lambda: setup.program(setup.example),
    )
    prices.measure_costs(table, latency)
    sensitivity = Sensitivity(
        bench,
        setup.layers,
        setup.evaluator,
        setup.rows["probe"],
        prices.record(calibration),
        store.memo,
        contexts.quality,
    )
    prices.measure_damage(sensitivity, probes=probes)
    refused = {**prices.refused, **sensitivity.refused}
    _tell(progress, "sensitivity", "does not run", refused)
    binding = Binding(prices.slots, {**binding.dropped, **refused})
    units = build_table(
        binding.slots, prices.part_of, prices.depth, prices.slot, prices.structure, _format_of(setup.registry),
        price_custom=custom.price if custom is not None else lambda _: {},
    )  # fmt: skip
    check_some_run(setup.space.name, units, {**failed, **refused})
    _tell_table(units, progress)
    options = sum(len(unit.options) for unit in units.units)
    message = f"{len(units.units)} units, {options} options after dropping dominated ones"
    progress(Event("sensitivity", message=message, note=True))
    return Plan(bench, binding, units, statistics, sensitivity.probe_share)


def _tell_table(table: Table, progress: Progress) -> None:
    if table.idle:
        _tell(progress, "sensitivity", "no option left", dict.fromkeys(table.idle, "all of them were dropped"))
    if table.left_out:
        message = f"{table.left_out} combinations of structures were left out; those priced are spread evenly"
        progress(Event("sensitivity", message=message, note=True))


def dense_figures(setup: Setup, store: Store, context: str, figures: Mapping[str, float]) -> Dense:
    """The dense model's measured figures, and its quality: the evaluator's on the search rows, against itself."""

    def measure() -> float:
        def run(batch: Batch) -> object:
            return setup.program(inputs_of(batch))

        reference = setup.evaluator.reference(run, setup.rows["search"])
        return setup.evaluator.score(run, setup.rows["search"], reference).value

    quality = float(store.memo(f"dense/{context}", measure))
    latency, p95, memory = figures["latency"], figures["latency.p95"], figures["memory"]
    weights = weight_bytes(setup.model)
    return Dense(latency, p95, memory, weights, quality)


def _format_of(registry: Registry) -> Callable[[LayerPolicy], str]:
    """A layer's number format by the step that quantises or casts it."""

    def name(policy: LayerPolicy) -> str:
        steps = [step for step in policy.steps if registry.technique(step.technique).stage is Stage.QUANTIZE]
        return steps[-1].label() if steps else ""

    return name


def _tell(progress: Progress, stage: str, what: str, reasons: Mapping[str, str]) -> None:
    """One line a reason, with the first few names."""
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    for reason, names in found.items():
        shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        progress(Event(stage, message=f"{what}: {shown}: {reason}", note=True))
