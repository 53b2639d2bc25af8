"""`make fuzz`: mutated files of every format, and what became of them; ends with 1 when a foreign exception came out.

    python -m tests.fuzz.report [MUTATIONS] [SEED] [FORMAT ...]

MUTATIONS are those of the dearest format; cheap ones get their ``weight`` times as many, and at most `MOST`.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings

from autocompress.errors import AutocompressError

from .formats import Format, formats

SECONDS = 60
"""After so long a reader hangs."""
MOST = 5000


class HungError(BaseException):
    """The reader did not come back."""


@dataclass
class Found:
    """What became of the mutations of one format: read as if nothing were wrong, refused by one line, or foreign."""

    read: int = 0
    refused: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def mutations(self) -> int:
        return self.read + self.refused + sum(self.foreign.values())


def fuzz(one: Format, mutations: int, number: int) -> Found:
    """Read so many mutations of a format. Nothing is minimised: every one counts."""
    found, started = Found(), time.monotonic()

    @seed(number)
    @settings(
        max_examples=mutations,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(one.broken(one.example))
    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="autocompress-fuzz-") as folder:
            try:
                with _limit(SECONDS):
                    one.read(content, Path(folder))
                found.read += 1
            except AutocompressError as error:
                said = str(error)
                if error.exit_code == 2 and "\n" not in said.strip() and len(said) < 2000:
                    found.refused += 1
                else:
                    found.foreign[f"{type(error).__name__} with code {error.exit_code}: {said[:200]!r}"] += 1
            except (Exception, HungError) as error:  # noqa: BLE001 - the whole question is what may come out
                found.foreign[_place(error)] += 1

    read()
    found.seconds = time.monotonic() - started
    return found


def _place(error: BaseException) -> str:
    """The kind of an error and the line of ours that let it out."""
    trace, ours = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "/autocompress" in name and "site-packages" not in name:
            ours = f"{Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {ours}: {' '.join(str(error).split())[:120]}"


class _limit:  # noqa: N801 - reads like the context that it is
    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGALRM, self._stop)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        raise HungError(f"more than {self.seconds} s")


def main(arguments: Sequence[str]) -> int:
    """Print one row a format."""
    mutations, number = int(arguments[0]) if arguments else 400, int(arguments[1]) if len(arguments) > 1 else 0
    wanted, foreign, whole = arguments[2:], 0, 0
    print(f"{'format':28} {'mutations':>9} {'read':>6} {'refused':>8} {'foreign':>8} {'seconds':>8}")
    with tempfile.TemporaryDirectory(prefix="autocompress-fuzz-") as folder:
        for one in formats(Path(folder)):
            if wanted and not any(word in one.name for word in wanted):
                continue
            found = fuzz(one, min(MOST, mutations * one.weight), number)
            count = sum(found.foreign.values())
            row = (found.mutations, found.read, found.refused, count)
            print(f"{one.name:28} {row[0]:9} {row[1]:6} {row[2]:8} {row[3]:8} {found.seconds:8.0f}", flush=True)
            for what, times in found.foreign.most_common():
                print(f"    {times:5} x {what}", flush=True)
            foreign, whole = foreign + count, whole + found.mutations
    print(f"{whole} mutations, foreign exceptions {foreign}")
    return int(foreign > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
