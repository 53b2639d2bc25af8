"""`autocompress spaces`: the search spaces that are installed, or the rules of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autocompress.cli.console import say, stdout

if TYPE_CHECKING:
    from autocompress.plugin.registry import Registry
    from autocompress.space.binding import SearchSpace

EXAMPLES = """Examples:

  autocompress spaces

  autocompress spaces encoder-cpu

  autocompress spaces ./my-space.toml"""


def add_to(app: typer.Typer) -> None:
    app.command("spaces", epilog=EXAMPLES)(spaces)


def spaces(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A space by name, or a .toml file.")] = None,
) -> None:
    """List the search spaces, or show the rules of one."""
    from autocompress.plugin.registry import load_registry
    from autocompress.space.file import load_space

    registry = load_registry()
    if name is not None:
        _show(load_space(name, registry.search_spaces), registry)
        return
    table = Table("space", "rules", "what it offers", "from", box=None, pad_edge=False)
    for known in registry.search_spaces:
        space = load_space(known, registry.search_spaces)
        origin = registry.origin[f"search_spaces:{known}"]
        table.add_row(*map(escape, (known, str(len(space.rules)), space.description, origin)))
    stdout().print(table)


def _show(space: SearchSpace, registry: Registry) -> None:
    for rule in space.rules:
        registry.technique(rule.technique)
    console = stdout()
    say(console, f"{space.name}: {space.description}")
    say(console, f"{space.source}", style="dim")
    table = Table("layers", "kind", "technique", "values", "share", box=None, pad_edge=False)
    for rule in space.rules:
        values = "; ".join(f"{key} {', '.join(map(str, tried))}" for key, tried in rule.params.items())
        cells = (rule.match, rule.kind or "any", rule.technique, values or "all that it offers", rule.share)
        table.add_row(*map(escape, cells))
    console.print(table)
