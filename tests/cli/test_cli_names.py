"""Names that hold terminal escapes, markup or half characters reach the terminal written out."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from autocompress.basics.printable import printable
from autocompress.cli.console import PlainConsole, say

EVIL = "\x1b]8;;http://stranger\x07click\x1b[2J\x9b31m\u202eback\r\x08[red]red[/red][link=http://x]y[/link]"
CONTROLS = ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\x08")


def clean(text: str) -> bool:
    return not any(mark in text for mark in CONTROLS)


def test_whatever_is_printed_is_written_out() -> None:
    stream = StringIO()
    console = PlainConsole(file=stream, width=300, highlight=False)
    say(console, EVIL)
    console.print(Text(EVIL))
    table = Table(title=Text(EVIL))
    table.add_column(Text(EVIL))
    table.add_row(Text(EVIL))
    console.print(table)
    said = stream.getvalue()
    assert clean(said)
    assert r"\x1b]8;;http://stranger\x07click\x1b[2J\x9b31m\u202eback" in said
    assert "[red]red[/red][link=http://x]y[/link]" in said


def test_what_rich_adds_itself_still_passes() -> None:
    stream = StringIO()
    console = PlainConsole(file=stream, force_terminal=True, color_system="standard", width=80)
    console.print(Text("a\x1b[31mb", style="red"))
    assert stream.getvalue() == "\x1b[31ma\\x1b[31mb\x1b[0m\n"


def test_half_a_character_can_be_printed() -> None:
    assert printable("a\ud800b").encode() == rb"a\ud800b"


def policy(here: Path, name: str, layer: str, technique: str = "int8") -> str:
    document = {"format_version": 1, "layers": {layer: [{"technique": technique}]}}
    (here / name).write_text(json.dumps(document))
    return name


@pytest.mark.parametrize("where", ["layer", "technique", "path", "header", "model", "space", "setting"])
def test_the_command_line_says_names_written_out(where: str, cli: Any, here: Path) -> None:
    evil = "evil\x1b[31m\u202e[bold]"
    if where == "layer":
        ran = cli("diff", policy(here, "a.json", evil), policy(here, "b.json", "other"))
    elif where == "technique":
        ran = cli("diff", policy(here, "a.json", "x", evil), policy(here, "b.json", "x", "int8"))
    elif where == "path":
        ran = cli("diff", f"{evil}.json", "b.json")
    elif where == "header":
        (here / "rows.csv").write_text(f"{evil},b\n" + "1,2\n" * 60)
        ran = cli("search", "-b", "75%", "--data", "rows.csv")
    elif where == "model":
        ran = cli("search", f"./{evil}", "-b", "75%")
    elif where == "space":
        ran = cli("search", "-b", "75%", "--space", evil)
    else:
        (here / "autocompress.toml").write_text('[search]\n"evil\\u001b[31m\\u202E[bold]" = 1\n')
        ran = cli("search", "-b", "75%")
    assert ran.code == (0 if where in ("layer", "technique") else 2), ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "\u202e" not in ran.stdout + ran.stderr
    assert "evil" in ran.stdout + ran.stderr
    assert "[bold]" in ran.stdout + ran.stderr
