"""Sessions that lie, die, leave helpers behind or hang: each has a cause, none is waited for."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from autocompress.core.target import Target
from autocompress.errors import TrialError
from autocompress.sessions import launch
from autocompress.sessions.parent import LEAST, TIMEOUT, Session, _session, limit_after, once_more
from autocompress.sessions.process import SessionLostError, ask

READ = "import sys; sys.stdin.buffer.readline()\n"
ANSWER = "print('{\"ok\": 1}', flush=True)\n"


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch):
    """``child(source, timeout)`` asks a process that runs this source."""

    def run(source: str, timeout: float = 60.0, payload: bytes = b"") -> dict[str, object]:
        monkeypatch.setattr(launch, "command", lambda _module: [sys.executable, "-c", source])
        return ask("any", {"a": 1}, payload, Target(), timeout)

    return run


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (READ + "print('hello there')", r"answered 'hello there': expected a JSON object"),
        (READ + "print('[1, 2]')", r"expected a JSON object"),
        (READ + "sys.stdout.buffer.write(b'\\xff\\xfe\\n')", r"expected a JSON object"),
        (READ + "import os; os.close(1); os._exit(0)", r"ended with code 0 and no answer: it said nothing"),
        (READ + "import os; os._exit(7)", r"ended with code 7"),
        (READ + "sys.exit('out of luck')", r"ended with code 1 and no answer: out of luck"),
        (READ + "import os; os.kill(os.getpid(), 11)", r"was ended by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"was ended by SIGKILL"),
    ],
)
def test_what_is_no_answer_is_a_lost_session(child, source: str, cause: str) -> None:
    with pytest.raises(SessionLostError, match=cause):
        child(source, payload=b"x" * 2**20)  # more than a pipe holds, and nobody reads it


def test_an_error_that_is_reported_is_not_a_lost_session(child) -> None:
    with pytest.raises(TrialError, match="failed: no kernel") as caught:
        child(READ + 'print(\'{"error": "no kernel"}\')')
    assert not isinstance(caught.value, SessionLostError)


@pytest.mark.parametrize("hang", ["time.sleep(600)", "os.close(0); os.close(1); os.close(2); time.sleep(600)"])
def test_a_hang_is_ended_with_all_that_it_started(child, hang: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    helper = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(note)!r}, 'w').write(str(p.pid))\n"
    with pytest.raises(SessionLostError, match="did not answer within 2 s") as caught:
        child(READ + "import os, time\n" + helper + hang, timeout=2.0)
    assert caught.value.hung
    assert _gone(int(note.read_text()))


def test_a_helper_that_outlives_the_session_is_not_waited_for(child, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    helper = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(note)!r}, 'w').write(str(p.pid))\n"
    assert child(READ + helper + ANSWER) == {"ok": 1}
    assert _gone(int(note.read_text()))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"latency": 3, "dense_latency": [], "memory": 1.0},
        {"latency": [float("nan")], "dense_latency": [], "memory": 1.0},
        {"latency": ["x"], "dense_latency": [], "memory": 1.0},
        {"latency": [], "dense_latency": [], "memory": 1.0, "strange": 1},
    ],
)
def test_figures_that_are_none_are_a_lost_session(answer: dict[str, object]) -> None:
    with pytest.raises(SessionLostError, match="answered with"):
        _session(json.loads(json.dumps(answer)))


def test_the_limit_follows_what_sessions_take_here() -> None:
    def took(seconds: float) -> Session:
        return Session((), (), 0.0, seconds=seconds)

    assert limit_after([]) == TIMEOUT
    assert limit_after([took(5.0)]) == LEAST
    assert limit_after([took(5.0), took(30.0)]) == 300.0


def test_a_session_that_crashed_is_told_and_tried_once_more_a_hang_is_not() -> None:
    told: list[str] = []
    found = Session((1.0,), (), 0.0)
    crash, hang = SessionLostError("it crashed"), SessionLostError("it hung")
    hang.hung = True
    for outcomes, expected in ([[crash, found], found], [[crash, crash], crash], [[hang, found], hang]):
        left = list(outcomes)

        def session() -> Session:
            outcome = left.pop(0)  # noqa: B023
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        if isinstance(expected, Session):
            assert once_more(session, told.append) is expected
        else:
            with pytest.raises(SessionLostError) as caught:
                once_more(session, told.append)
            assert caught.value is expected
    assert told == ["it crashed; trying once more"] * 2


def _gone(pid: int) -> bool:
    """Whether a process ends within a while; one that nobody has waited for yet counts as ended."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
