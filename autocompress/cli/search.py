"""`autocompress search`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.console import print_json, say, stderr, stdout, stdout_reserved
from autocompress.cli.errors import Fault, Interrupted, Terminated
from autocompress.cli.progress import Display, display
from autocompress.cli.request import run_folder, search_request
from autocompress.errors import AutocompressError
from autocompress.pipeline.result import SearchResult
from autocompress.report.summary import (
    accuracy_line,
    additivity_line,
    held_out_line,
    nearest_lines,
    sweep_line,
    verified_line,
)
from autocompress.report.table import front_table
from autocompress.request.request import SearchRequest

EXAMPLES = """Examples:

  autocompress search --budget 75%                        the demo model, in three quarters of its time

  autocompress search ./my-model -b 20ms -b memory=300MB -b quality=0.98

  autocompress search ./my-model -b 2x --data reviews.csv --column text --space encoder-cpu

  autocompress search ./my-vit -b 70% -b quality=99% --data images.safetensors

Budgets: 20ms  0.02s  500MB  1.5GiB  70%  2x; named: latency=  latency.p95=  memory=  size=  quality=.
The same command goes on where an interrupted one stopped.

Exit codes: 0 kept, 2 bad input, 3 no policy keeps the budget, 130 interrupted, 143 terminated (work kept by both),
1 a full disk, or a fault of ours or of a plugin."""


def add_to(app: typer.Typer) -> None:
    app.command("search", epilog=EXAMPLES)(search)


def search(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A Hugging Face folder or id; none: the demo model.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", "-b", help="A limit to keep, such as 20ms; may be given again.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A text, csv or json file, or tensors by input name as .safetensors.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The text column of a csv or json file.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Its column of labels; default: label or labels; none leaves them out.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Its column of topics, each of which stays in one split.")] = None,
    space: Annotated[str | None, typer.Option(help="A search space by name, or a .toml file.")] = None,
    task: Annotated[str | None, typer.Option(help="What the model is for; guessed from its config.")] = None,
    evaluator: Annotated[str | None, typer.Option(help="How quality is measured; chosen by task.")] = None,
    runtime: Annotated[str | None, typer.Option(help="What runs and is timed; default: torch.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows in a timed call; default: 1.")] = None,
    sequence: Annotated[int | None, typer.Option(help="Tokens in a row; default: 128.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a CPU; default: the free cores.")] = None,
    sampler: Annotated[str | None, typer.Option(help="What proposes knobs; default: tpe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; default: 0.")] = None,
    trials: Annotated[
        int | None, typer.Option(help="The most policies to evaluate; with no --time either: 100.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The most time for the search stage, such as 5m.")] = None,
    sessions: Annotated[int | None, typer.Option(help="Fresh processes for the verdict, at least; default: 3.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder; the same again resumes.")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Load a checkpoint that is a pickle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Find the best compressed model that keeps the budget, and prove it on this device."""
    given = {
        "model": model, "budgets": tuple(budget or ()), "data": data, "column": column, "space": space, "task": task,
        "labels": labels, "group": group,
        "evaluator": evaluator, "runtime": runtime, "device": device, "batch": batch, "sequence": sequence,
        "threads": threads, "sampler": sampler, "seed": seed, "trials": trials, "time": time, "sessions": sessions,
        "out": out, "trust_remote_code": trust_remote_code or None, "allow_pickle": allow_pickle or None,
    }  # fmt: skip
    request, notice = search_request(given)
    if notice and not quiet:
        say(stderr(), notice)
    with stdout_reserved(as_json), display(quiet=quiet) as shown:
        result = _run(request, shown)
    if as_json:
        print_json(result.to_json())
    else:
        _show(result)
    return result.exit_code


def _run(request: SearchRequest, shown: Display) -> SearchResult:
    from autocompress.request.names import check_names

    names = check_names(request)  # what can be refused is refused before seconds of imports
    import optuna

    from autocompress.pipeline.search import run_search

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it has a handler of its own on stderr
    try:
        return run_search(request, shown, names)
    except KeyboardInterrupt as stop:
        how = "terminated" if isinstance(stop, Terminated) else "interrupted"
        raise Interrupted(_interrupted(request, shown, how)) from stop
    except AutocompressError:
        raise
    except (Exception, SystemExit) as error:
        raise Fault(run_folder(request)) from error


def _interrupted(request: SearchRequest, shown: Display, how: str) -> tuple[str, ...]:
    best = f"best so far: {shown.best}" if shown.best else "no policy was found yet that keeps the budget"
    return (f"{how}; what was measured is kept. {best}", f"to go on: {request.replay()}")


def _show(result: SearchResult) -> None:
    """The front, then the answer and its evidence, a line each."""
    console = stdout()
    console.print(front_table(result))
    for line in (
        result.verdict_line(),
        *nearest_lines(result),
        verified_line(result),
        held_out_line(result),
        sweep_line(result),
        accuracy_line(result),
        additivity_line(result),
        f"artifact: {result.best.path}" if result.best is not None else "",
        f"run folder: {result.out}",
        f"replay: {result.replay}" if result.replay else "",
    ):
        if line:
            say(console, line)
