"""SIGTERM is Ctrl-C under another code: work kept and told, 143; and nobody but us decides on exit code 0."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

import pytest
import typer

from autocompress.cli.errors import Interrupted, Terminated, run
from autocompress.cli.progress import Silent
from autocompress.core.progress import Event


def ends(error: Callable[[], BaseException]) -> typer.Typer:
    """A command that ends with this error."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise error()

    return app


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["SIGINT", "SIGTERM"]
)
def test_a_display_turns_both_signals_into_interrupts_and_remembers_them(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    shown = Silent()
    with shown:
        with pytest.raises(kind) as caught:
            os.kill(os.getpid(), number)
        assert type(caught.value) is kind
        with pytest.raises(kind):  # a library may have swallowed the first one
            shown(Event("search"))
    assert {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)} == before


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt, 130, "interrupted"),
        (Terminated, 143, "terminated"),
        (partial(SystemExit, 0), 1, "fault of autocompress, not yours (SystemExit: 0)"),
    ],
)
def test_codes(error: Callable[[], BaseException], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ends(error), []) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("cause", "code"), [(KeyboardInterrupt(), 130), (Terminated(), 143)])
def test_a_search_that_is_stopped_says_what_is_kept(
    cause: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = Interrupted(("what was measured is kept", "to go on: again"))
    stop.__cause__ = cause
    assert run(ends(lambda: stop), []) == code
    assert capsys.readouterr().err.splitlines() == ["what was measured is kept", "to go on: again"]
