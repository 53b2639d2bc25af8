"""`autocompress bench`: measure an artifact again, in fresh processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.console import print_json, say, stderr, stdout, stdout_reserved
from autocompress.cli.errors import KEPT, MISSED
from autocompress.cli.progress import display
from autocompress.core.measurement import Measurement
from autocompress.core.objective import parse_budgets
from autocompress.core.progress import Event

if TYPE_CHECKING:
    from autocompress.sessions import BenchReport

EXAMPLES = """Examples:

  autocompress bench autocompress-runs/demo-75pct-cpu/best

  autocompress bench ./compressed --sessions 5 --budget 20ms

Exit codes: 0 measured and every given budget kept, 2 bad input, 3 a given budget is not kept, 1 our fault."""


def add_to(app: typer.Typer) -> None:
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact, such as best/ of a run.")],
    sessions: Annotated[int, typer.Option(min=2, help="Fresh processes, at least.")] = 3,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", "-b", help="Judge this limit too; may be given again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Measure an artifact again in fresh processes, beside its dense model and what was recorded."""
    budgets = parse_budgets(budget) if budget else ()
    with stdout_reserved(as_json), display(quiet=quiet) as shown:
        from autocompress.artifact.manifest import read_manifest, verify
        from autocompress.sessions import bench as measure

        manifest = read_manifest(folder)
        verify(folder, manifest)  # a damaged file is told here, not by the first process that cannot load it
        recorded = {name: Measurement.from_json(found) for name, found in manifest.record.measurements.items()}
        report = measure(
            folder,
            sessions=sessions,
            budgets=budgets,
            progress=lambda done, most, message: shown(Event("verify", done, most, message)),
        )
    if as_json:
        before = {name: found.to_json() for name, found in recorded.items()}
        print_json(report.to_json() | {"recorded": before})
    else:
        _show(report, recorded)
    return KEPT if all(verdict.kept for verdict in report.verdicts) else MISSED


def _show(report: BenchReport, recorded: dict[str, Measurement]) -> None:
    from autocompress.report.bench import agreement_line, bench_table

    console = stdout()
    console.print(bench_table(report, recorded))
    line = agreement_line(report, recorded)
    if line:
        say(console, line)
    for verdict in report.verdicts:
        say(console, f"{verdict.budget.describe()}: {verdict.state} ({verdict.reason})")
    for note in (*report.notes, *(f"a session failed and was repeated: {cause}" for cause in report.causes)):
        say(stderr(), note)
