"""The run folder: which search it belongs to, what was measured, and the one process that may write to it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from autocompress.basics.atomic import write_whole
from autocompress.basics.disk import raise_when_full
from autocompress.basics.schema import read_json, short
from autocompress.errors import RunError
from autocompress.storage.journal import RunLock, journal_storage
from autocompress.storage.store import Store

FORMAT_VERSION = 2
EARLY = (".lock", "error.log")
"""What a search that ended before its first line was written (on a full disk, say) leaves in its folder."""


def default_folder(model: str, budgets: tuple[str, ...], device: str) -> Path:
    """A telling name under ``autocompress-runs``: the model's last part, the budgets, the device."""
    words = [model.rstrip("/").rpartition("/")[2], *budgets, device]
    name = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word.replace("%", "pct")).strip("-") for word in words)
    return Path("autocompress-runs") / name


class RunFolder:
    """Opens or creates a run folder and locks it.

    identity   what must be the same for a search to go on in this folder; the first difference is named.
    shared     stores of values that other searches may use, by context.
    Raises RunError when the folder belongs to another search, is in use, is not empty and no run, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], shared: Mapping[str, Store] | None = None) -> None:
        self.path = path
        record = path / "run.json"
        try:
            if path.exists() and not record.exists() and any(one.name not in EARLY for one in path.iterdir()):
                raise RunError(f"{str(path)!r} is not empty and holds no run; give a new or empty folder as --out.")
            path.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(path)
            if record.exists():
                self._check(record, identity)
            else:
                write_whole(record, json.dumps({"format_version": FORMAT_VERSION, **identity}, indent=1) + "\n")
        except OSError as error:
            raise_when_full(error, path)
            reason = error.strerror or str(error)
            raise RunError(f"cannot write the run folder {str(path)!r} ({reason}); give another --out.") from error
        self.store = Store(path / "measurements.jsonl", shared)

    def storage(self) -> optuna.storages.JournalStorage:
        """The trials, as Optuna's journal."""
        return journal_storage(self.path / "journal.log")

    @property
    def candidates(self) -> Path:
        """Where artifacts wait for their verdict."""
        return self.path / "candidates"

    @property
    def best(self) -> Path:
        return self.path / "best"

    def publish(self, candidate: Path) -> Path:
        """Make a verified candidate ``best/`` and drop the others."""
        old = self.path / ".old-best"
        shutil.rmtree(old, ignore_errors=True)
        if self.best.exists():
            self.best.rename(old)
        candidate.rename(self.best)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.candidates, ignore_errors=True)
        return self.best

    def close(self) -> None:
        self._lock.release()

    def _check(self, record: Path, identity: Mapping[str, Any]) -> None:
        known = read_json(record, RunError, expected="what a search wrote", remedy="it is damaged: give another --out.")
        version = known.get("format_version") if isinstance(known, dict) else None
        if version != FORMAT_VERSION:
            raise RunError(
                f"{record} has format_version {short(version)}, this autocompress goes on from {FORMAT_VERSION}; "
                "give another --out."
            )
        for name, value in json.loads(json.dumps(identity)).items():
            if known.get(name) != value:
                raise RunError(
                    f"the run folder {str(self.path)!r} belongs to another search: its {name} is "
                    f"{_short(known.get(name))}, this one's is {_short(value)}; give another --out."
                )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
