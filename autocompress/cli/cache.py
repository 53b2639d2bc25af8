"""`autocompress cache`: what earlier searches measured on this machine, for the next ones; shown or deleted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autocompress.basics.units import format_bytes, parse_seconds
from autocompress.cli.console import print_json, say, stdout, stdout_reserved

if TYPE_CHECKING:
    from autocompress.storage.cache import Entry

EXAMPLES = """Examples:

  autocompress cache                            what is there

  autocompress cache --unused 720h --prune      delete what no search has used for a month

  autocompress cache --prune                    delete everything

The cache lies in AUTOCOMPRESS_CACHE, or in the user's cache folder; set to nothing, no cache is used."""


def add_to(app: typer.Typer) -> None:
    app.command("cache", epilog=EXAMPLES)(cache)


def cache(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these entries.")] = None,
    unused: Annotated[str | None, typer.Option(help="Only what was not used for so long, such as 720h.")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what is shown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
) -> None:
    """Show or delete what earlier searches measured: costs, probes and trials, kept by content."""
    with stdout_reserved(as_json):
        from autocompress.storage import cache as kept

        found = kept.entries(names or (), parse_seconds(unused) if unused else 0.0)
        if prune:
            kept.prune(found)
    if as_json:
        document = {"folder": str(kept.cache_folder() or ""), "entries": [entry.to_json() for entry in found]}
        print_json({**document, "deleted": prune})
        return
    if found:
        stdout().print(_table(found))
    total = f"{len(found)} entries, {format_bytes(sum(entry.bytes for entry in found))}"
    say(stdout(), f"{'deleted' if prune else 'in'} {kept.cache_folder() or 'no folder: the cache is off'}: {total}")


def _table(found: list[Entry]) -> Table:
    table = Table("entry", "about", "values", "size", "last used", box=None, pad_edge=False)
    for entry in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        table.add_row(*map(escape, (entry.name, entry.about, str(entry.values), format_bytes(entry.bytes), used)))
    return table
