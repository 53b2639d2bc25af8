"""Where the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from autocompress.basics.printable import printable

WIDE = 150
"""Columns when nobody looks at a terminal: a table in a log is not cut."""


class PlainConsole(Console):
    """A console on which no text, wherever it came from, moves the cursor, sets colours or links somewhere.

    What rich itself adds (styles, the cursor of a live line) comes later or as control segments, and passes.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)  # before a table measures how wide it is

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class ConsoleLog(logging.Handler):
    """Warnings of the library, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(stderr(), f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}")


def show_warnings() -> None:
    """From here on, what our library logs as a warning is shown; once in a process."""
    logger = logging.getLogger("autocompress")
    if not any(isinstance(handler, ConsoleLog) for handler in logger.handlers):
        logger.addHandler(ConsoleLog(logging.WARNING))


def stdout() -> Console:
    """A console for results."""
    return _console(stderr=False)


def stderr() -> Console:
    """A console for progress, notes and errors."""
    return _console(stderr=True)


def say(console: Console, text: str, style: str = "") -> None:
    """Print text on one line, whatever brackets it holds; lines are not broken."""
    console.print(escape(text), style=style or None, soft_wrap=True, highlight=False)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return PlainConsole(stderr=stderr, width=wide, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on stdout; numbers that JSON does not know (NaN, infinity) become null."""
    sys.stdout.write(json.dumps(_finite(document), indent=1, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def stdout_reserved(reserved: bool) -> Iterator[None]:
    """While it lasts, whatever libraries and child processes print to stdout goes to stderr."""
    if not reserved:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
