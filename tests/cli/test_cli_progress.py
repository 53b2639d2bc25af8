"""Progress: plain lines are few and whole, notes are never lost, times read well."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from autocompress.cli import progress
from autocompress.cli.progress import LiveLine, PlainLines, Silent, clock, words
from autocompress.core.progress import Event


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def console(screen: io.StringIO, *, terminal: bool) -> Console:
    return Console(file=screen, width=120, force_terminal=terminal, legacy_windows=False)


def test_one_event_is_one_line() -> None:
    event = Event("search", 7, 60, "trial 6 (tpe)", "quality 0.98 at 20 ms", 95.4)
    assert words(event) == "[6/8] search 7/60 · trial 6 (tpe) · best: quality 0.98 at 20 ms · 1:35 left"
    assert words(Event("load", message="loading x")) == "[1/8] load · loading x"


@pytest.mark.parametrize(("seconds", "text"), [(None, "0:00"), (-1, "0:00"), (59.6, "1:00"), (3661, "1:01:01")])
def test_times_read_well(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_plain_lines_are_at_most_one_in_two_seconds(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with PlainLines(console(screen, terminal=False)) as show:
        for step in range(100):
            now[0] = step * 0.1
            show(Event("search", step, 100, f"trial {step}", best="b"))
        show(Event("search", 100, 100, "last"))
        show(Event("search", message="[red]a note[/red]", note=True))
        show(Event("search", message="another", note=True))
        show(Event("verify", 0, 3, "session 1"))
    lines = screen.getvalue().splitlines()
    assert [line.split(" · ")[1] for line in lines if " · " in line] == [
        "trial 0", "trial 20", "trial 40", "trial 60", "trial 80", "last", "session 1",
    ]  # fmt: skip
    assert "  [red]a note[/red]" in lines
    assert "  another" in lines
    assert show.best == "b"


def test_the_live_line_keeps_notes_and_finished_stages(screen: io.StringIO) -> None:
    with LiveLine(console(screen, terminal=True)) as show:
        show(Event("load", message="loading"))
        show(Event("load", message="[red]a note[/red]", note=True))
        show(Event("search", 1, 2, "trial 0", best="quality 0.98"))
    text = screen.getvalue()
    assert "[red]a note[/red]" in text
    assert "✓" in text
    assert "load" in text
    assert show.best == "quality 0.98"


def test_quiet_shows_nothing_and_remembers_the_best(capfd: pytest.CaptureFixture[str]) -> None:
    with Silent() as show:
        show(Event("search", 1, 2, "trial 0", best="quality 0.98"))
        show(Event("search", 2, 2, "trial 1"))
    assert show.best == "quality 0.98"
    assert capfd.readouterr() == ("", "")
