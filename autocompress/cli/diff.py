"""`autocompress diff`: what differs between two policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autocompress.cli.console import say, stdout
from autocompress.core.policy import LayerPolicy, Policy
from autocompress.report.policy_words import policy_words

EXAMPLES = """Example:

  autocompress diff runs/a/policy.json runs/b/policy.json"""


def add_to(app: typer.Typer) -> None:
    app.command("diff", epilog=EXAMPLES)(diff)


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A policy file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another policy file.")],
) -> None:
    """Show the layers that two policies treat differently."""
    a, b = Policy.load(first), Policy.load(second)
    console = stdout()
    say(console, f"A {first}: {policy_words(a)}")
    say(console, f"B {second}: {policy_words(b)}")
    names = sorted({*a.layers, *b.layers})
    dense = LayerPolicy()
    changed = [name for name in names if a.layers.get(name, dense) != b.layers.get(name, dense)]
    if not changed:
        say(console, "the two policies are the same")
        return
    table = Table("layer", "A", "B", box=None, pad_edge=False)
    for name in changed:
        table.add_row(*(escape(text) for text in (name, _label(a, name), _label(b, name))))
    console.print(table)
    say(console, f"{len(changed)} of {len(names)} layers differ")


def _label(policy: Policy, name: str) -> str:
    return policy.layers.get(name, LayerPolicy()).label()
