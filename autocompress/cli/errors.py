"""The one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import typer

from autocompress.basics.disk import full
from autocompress.cli.console import say, show_warnings, stderr
from autocompress.errors import AutocompressError
from autocompress.plugin.registry import at_fault

KEPT, FAULT, USAGE, MISSED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
"""Interrupted and terminated are what a shell reports of SIGINT and SIGTERM: 128 and the signal's number."""
DEBUG = "AUTOCOMPRESS_DEBUG"
# Typer brings its own copy of click since 0.26; the base of its usage errors is reached without importing either.
_USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class Terminated(KeyboardInterrupt):
    """SIGTERM: whoever ends us gets what Ctrl-C gets, work kept and told, under a code of its own.

    ``raised`` since a command began: typer makes one exit code of every KeyboardInterrupt.
    """

    raised: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__("terminated")
        Terminated.raised = True


class Interrupted(Exception):  # noqa: N818  (an end that the user asked for, not an error)
    """The user interrupted a command that keeps its work; ``lines`` say what is kept and how to go on."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("interrupted")
        self.lines = lines


class Fault(Exception):  # noqa: N818
    """Something broke that should not; the cause is logged into ``folder`` if it exists."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__("our fault")
        self.folder = folder


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run a typer app; every outcome becomes an exit code, every error one line on stderr."""
    Terminated.raised = False
    show_warnings()
    try:
        code = app(arguments, prog_name="autocompress", standalone_mode=False)
        sys.stdout.flush()
    except _USAGE_ERROR as error:
        return _say(_usage(error), USAGE)
    except AutocompressError as error:
        return _say(_one_line(str(error)), error.exit_code)
    except Interrupted as stop:
        for line in stop.lines:
            say(stderr(), line)
        return TERMINATED if isinstance(stop.__cause__, Terminated) else INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:  # what typer makes of a broken pipe
        if isinstance(stop.__context__, BrokenPipeError):
            return _reader_gone()
        return _fault(stop, None)  # a plugin or a library wants to end the process: that is not an answer
    except Fault as fault:
        return _fault(fault.__cause__ or fault, fault.folder)
    except Exception as error:  # noqa: BLE001  (the last line of defence: whatever it is, the user gets one line)
        return _fault(error, None)
    if code == INTERRUPTED:
        return _stopped()
    return code if isinstance(code, int) else KEPT


def _stopped() -> int:
    say(stderr(), "terminated" if Terminated.raised else "interrupted")
    return TERMINATED if Terminated.raised else INTERRUPTED


def _reader_gone() -> int:
    """Nobody reads any more (`autocompress ... | head`): python's own flush at exit must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return KEPT


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" See: {context.command_path} --help" if context is not None else ""
    return _one_line(error.format_message()).rstrip(".") + "." + hint


def _fault(error: BaseException, folder: Path | None) -> int:
    kind = f"{type(error).__name__}: {_one_line(str(error))[:200]}"
    if full(error):
        return _say(f"disk full: {_one_line(str(error))[:200]}; make room and run the same command again.", FAULT)
    blamed = at_fault(error)
    whose = "autocompress" if blamed is None else f"the plugin {blamed[0]!r} of {blamed[1]!r}"
    if os.environ.get(DEBUG) == "1":
        traceback.print_exception(error)
        return _say(f"this is a fault of {whose} ({kind}).", FAULT)
    remedy = "" if blamed is None else f"without it: pip uninstall {blamed[1]}; "
    log = _write_log(error, folder)
    return _say(f"this is a fault of {whose}, not yours ({kind}); {remedy}the traceback is {log}", FAULT)


def _write_log(error: BaseException, folder: Path | None) -> str:
    """Where the traceback is: in the run folder, else in the folder for temporary files, else above on stderr."""
    text = "".join(traceback.format_exception(error))
    if folder is not None and folder.is_dir():
        with suppress(OSError):
            (folder / "error.log").write_text(text, encoding="utf-8")
            return f"in {folder / 'error.log'}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="autocompress-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError:
        sys.stderr.write(text)
        return "above: no folder for temporary files can be written"
    return f"in {file.name}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(message: str, code: int) -> int:
    say(stderr(), f"error: {message}", style="red" if sys.stderr.isatty() else "")
    return code
