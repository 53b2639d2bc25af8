"""The commands, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from autocompress.cli import apply, bench, cache, diff, doctor, plugins, search, spaces

app = typer.Typer(
    name="autocompress",
    help="Find the best compressed model that keeps a latency, memory, size or quality budget on your device.",
    epilog="Start: autocompress search ./my-model --budget 20ms\n\n"
    "Exit codes: 0 kept, 2 bad input, 3 no policy keeps the budget, 130 interrupted, 143 terminated "
    "(work kept by both), 1 a full disk or a fault of ours or of a plugin.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for module in (search, apply, bench, plugins, spaces, doctor, diff, cache):
    module.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from autocompress import __version__

        typer.echo(f"autocompress {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (acts through its callback)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
