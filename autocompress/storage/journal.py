"""The trials as Optuna's journal, in lines that carry check sums; locks are the kernel's own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages.journal import BaseJournalBackend

from autocompress.errors import DiskFullError, RunError
from autocompress.storage.lines import append_lines, open_plain, read_lines, unseal

KEPT = "what was measured is kept in measurements.jsonl"


class RunLock:
    """One search at a time in a run folder. Raises RunError when another process holds it."""

    def __init__(self, folder: Path) -> None:
        self._opened = open_plain(folder / ".lock", os.O_RDWR | os.O_CREAT)
        self._file: IO[bytes] = self._opened.__enter__()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunError(
                f"another search is running in {str(folder)!r}; wait for it or give another --out."
            ) from None

    def release(self) -> None:
        self._opened.__exit__(None, None, None)


class SealedJournal(BaseJournalBackend):  # type: ignore[misc]  # Optuna is untyped here
    """Optuna's operations, one a line. Raises RunError naming a line that is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = {0: 0}
        read_lines(path, kept=KEPT)  # all of it, before Optuna acts on any

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        known = max(number for number in self._offsets if number <= log_number_from)
        with open_plain(self._path, os.O_RDWR) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(self._offsets[known])
            lines = file.read().split(b"\n")[:-1]
        offset = self._offsets[known]
        for number, line in enumerate(lines, known):
            offset += len(line) + 1
            self._offsets[number + 1] = offset
            if number >= log_number_from:
                try:
                    yield unseal(line)
                except ValueError as error:
                    raise RunError(f"{self._path}, line {number + 1} is damaged ({error}); {KEPT}.") from error

    def append_logs(self, logs: Iterable[dict[str, Any]]) -> None:
        append_lines(self._path, list(logs))


def journal_storage(path: Path) -> optuna.storages.JournalStorage:
    """Optuna storage in one file; what a kill left half-written is dropped first.

    Raises RunError when a line is damaged, or when Optuna cannot make sense of the lines.
    """
    backend = SealedJournal(path)
    try:
        return optuna.storages.JournalStorage(backend)
    except RunError:
        raise
    except Exception as error:  # Optuna replays the operations and asserts what it expects of them
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error}); delete the file: {KEPT}.") from error


def open_study(storage: optuna.storages.BaseStorage | None, name: str, objectives: int) -> optuna.Study:
    """The study of that name, all of whose objectives are minimised; made if it is not there.

    Raises RunError when what is stored under this name is no study of ours.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True, directions=["minimize"] * objectives
        )
        study.get_trials(deepcopy=False)
    except (RunError, DiskFullError, OSError):
        raise
    except Exception as error:  # whatever Optuna expects of its own journal
        raise _no_study(f"{type(error).__name__}: {error}") from error
    if [direction.name for direction in study.directions] != ["MINIMIZE"] * objectives:
        raise _no_study(f"{len(study.directions)} objectives, expected {objectives}")
    return study


def _no_study(why: str) -> RunError:
    return RunError(f"journal.log is damaged ({why}); delete the file: {KEPT}.")
