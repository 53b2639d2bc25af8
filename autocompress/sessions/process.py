"""A process of ours that is asked one thing: watched, bounded in time, ended with all that it started."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from autocompress.core.target import Target
from autocompress.errors import TrialError
from autocompress.sessions import launch

logger = logging.getLogger(__name__)
DRAIN = 2.0
"""Seconds to read on after the process has ended: what it started may hold the pipes open for ever."""


class SessionRefusedError(TrialError):
    """What the session was given cannot be used: in a search this point fails, for `bench` it is bad input."""

    exit_code = 2


class SessionLostError(TrialError):
    """The session crashed or hung: unlike an error that it reports, this may go better the next time."""

    hung = False


def ask(module: str, request: Mapping[str, Any], payload: bytes, target: Target, timeout: float) -> dict[str, Any]:
    """Run ``module`` with ``request`` as the first line on its stdin, then ``payload``; its answer, a JSON object.

    Raises TrialError with the cause that it reports, SessionLostError when it dies, hangs or answers anything else.
    """
    with _lifeline() as (read, _):
        process = subprocess.Popen(
            launch.command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=launch.child_environment(target),
            pass_fds=(read,),
            start_new_session=True,
        )
        talk = _Talk(process, json.dumps({**request, "lifeline": read}).encode() + b"\n" + payload)
        try:
            process.wait(timeout)
            talk.finish(DRAIN)
        except subprocess.TimeoutExpired:
            lost = SessionLostError(f"the measuring session did not answer within {timeout:.0f} s and was ended.")
            lost.hung = True
            raise lost from None
        finally:
            _end(process)
            talk.finish(DRAIN)
    text = talk.err.decode(errors="replace").strip()
    logger.debug("measuring session: %s", text)
    return _answer(talk.out, process.returncode, text)


class _Talk:
    """Writes to a process and reads from it at the same time, so that no full pipe stops either."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        self.out = self.err = b""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._threads = [
            threading.Thread(target=self._write, args=(process.stdin, given), daemon=True),
            threading.Thread(target=self._read, args=(process.stdout, "out"), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, "err"), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)

    def _write(self, pipe: IO[bytes], given: bytes) -> None:
        with suppress(OSError), pipe:  # it may end, or close its stdin, without having read all of it
            pipe.write(given)

    def _read(self, pipe: IO[bytes], name: str) -> None:
        with suppress(OSError, ValueError), pipe:
            while block := os.read(pipe.fileno(), 1 << 16):
                setattr(self, name, getattr(self, name) + block)


def _answer(out: bytes, code: int, err: str) -> dict[str, Any]:
    lines = out.decode(errors="replace").strip().splitlines()
    if code == 0 and lines:
        try:
            answer = json.loads(lines[-1])
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SessionLostError(f"the measuring session answered {lines[-1][:60]!r}: expected a JSON object.")
        if "error" in answer:
            kind = SessionRefusedError if answer.get("refused") else TrialError
            raise kind(f"the measuring session failed: {answer['error']}")
        return answer
    how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with code {code} and no answer"
    last = err.splitlines()[-1] if err else "it said nothing"
    raise SessionLostError(f"the measuring session {how}: {last}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def _lifeline() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end dies with us, however we die: the session watches the reading end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session and whatever it started, also what outlived it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
