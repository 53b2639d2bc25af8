"""An artifact measured again, beside what was recorded when it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rich.markup import escape
from rich.table import Table

from autocompress.basics.units import format_value
from autocompress.core.measurement import Measurement
from autocompress.core.objective import BUILTIN
from autocompress.report.table import interval

UNITS = {objective.name: objective.unit for objective in BUILTIN}


class Measured(Protocol):
    """The part of `autocompress.artifact.BenchReport` that is shown."""

    @property
    def measurements(self) -> Mapping[str, Measurement]: ...


def bench_table(report: Measured, recorded: Mapping[str, Measurement]) -> Table:
    """Every figure with its interval, now and as recorded."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("now", "interval", "sessions", "recorded", "interval"):
        table.add_column(name, justify="right")
    for name, found in report.measurements.items():
        unit = unit_of(name)
        before = recorded.get(name)
        cells = [format_value(found.median, unit), interval(found.low, found.high, unit), str(found.sessions)]
        cells += [] if before is None else [format_value(before.median, unit), interval(before.low, before.high, unit)]
        table.add_row(escape(name), *map(escape, cells))
    return table


def agreement_line(report: Measured, recorded: Mapping[str, Measurement]) -> str:
    """Whether the intervals of what was measured now and what was recorded meet; "" when nothing was recorded."""
    shared = [name for name in report.measurements if name in recorded]
    if not shared:
        return ""
    apart = [name for name in shared if not meet(report.measurements[name], recorded[name])]
    if not apart:
        return f"agrees with what was recorded: {', '.join(shared)}"
    return f"differs from what was recorded: {', '.join(apart)} (the intervals do not meet)"


def meet(first: Measurement, second: Measurement) -> bool:
    """Whether two intervals have a value in common."""
    return first.low <= second.high and second.low <= first.high


def unit_of(name: str) -> str:
    """The unit of a figure such as ``dense.latency.p95``; a ratio has none."""
    if name.startswith("ratio."):
        return ""
    return UNITS.get(name.removeprefix("dense.").partition(".")[0], "")
