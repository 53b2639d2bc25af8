"""Progress on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from autocompress.cli.console import say, stderr
from autocompress.cli.errors import Terminated
from autocompress.core.progress import STAGES, Event

Kind = type[BaseException] | None
STOPS: Mapping[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
EVERY = 2.0
"""Seconds between two plain lines of the same stage."""


class Display(Protocol):
    """Shows events while it is entered; ``best`` is the last best-so-far that was told."""

    best: str

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: Kind, error: BaseException | None, trace: TracebackType | None) -> None: ...


def display(*, quiet: bool = False) -> Display:
    """The display that fits: nothing when quiet, live on a terminal, plain lines otherwise."""
    console = stderr()
    if quiet:
        return Silent()
    return LiveLine(console) if console.is_terminal else PlainLines(console)


def words(event: Event) -> str:
    """One event in one line: stage, step, what, best so far, time left."""
    place = f"[{STAGES.index(event.stage) + 1}/{len(STAGES)}] " if event.stage in STAGES else ""
    step = f" {event.done}/{event.total}" if event.total else ""
    parts = [f"{place}{event.stage}{step}", event.message]
    parts += [f"best: {event.best}"] * bool(event.best)
    parts += [f"{clock(event.left)} left"] * (event.left is not None)
    return " · ".join(part for part in parts if part)


def clock(seconds: float | None) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    whole = max(0, round(seconds or 0.0))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Silent:
    """Shows nothing; remembers the best, and that somebody pressed Ctrl-C or sent SIGTERM.

    An interrupt that arrives inside a library's own handling of errors may be swallowed there: then the next event
    raises it again.
    """

    best = ""
    _stopped: type[KeyboardInterrupt] | None = None
    _before: Mapping[int, Any] = MappingProxyType({})

    def __call__(self, event: Event) -> None:
        if self._stopped is not None:
            raise self._stopped
        self.best = event.best or self.best

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._stop) for number in STOPS}
        return self

    def __exit__(self, kind: Kind, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _frame: object) -> None:
        self._stopped = STOPS[number]
        raise self._stopped


class PlainLines(Silent):
    """Notes and changes of stage at once, everything else at most once in two seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stage = ""
        self.shown = float("-inf")

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.note:
            say(self.console, f"  {event.message}")
            return
        now = time.monotonic()
        last = event.total > 0 and event.done >= event.total
        if event.stage == self.stage and now - self.shown < EVERY and not last:
            return
        self.stage, self.shown = event.stage, now
        say(self.console, words(event))


class LiveLine(Silent):
    """One line that is redrawn; notes and finished stages scroll by above it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.event: Event | None = None
        self.since = time.monotonic()
        self.live = Live(console=console, transient=True, refresh_per_second=8, get_renderable=self._render)
        self.spinner = Spinner("dots")

    def __enter__(self) -> Self:
        self.live.start()
        return super().__enter__()

    def __exit__(self, kind: Kind, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self.live.stop()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.note:
            self.console.print(Text(f"  {event.message}", style="dim"))
            return
        if self.event is not None and event.stage != self.event.stage:
            took = clock(time.monotonic() - self.since)
            self.console.print(f"[green]✓[/] {escape(self.event.stage)} [dim]{took}[/]")
            self.since = time.monotonic()
        self.event = event

    def _render(self) -> Table | Text:
        if self.event is None:
            return Text("")
        line = Table.grid(padding=(0, 1))
        line.add_row(self.spinner, Text(words(self.event), overflow="ellipsis", no_wrap=True))
        return line
