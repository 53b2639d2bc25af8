"""`make coverage`: one search on every architecture that we know, one row each.

Every architecture runs in a process of its own with a time limit, so that a crash or a hang is a row as well. Exit code
1 when a row holds an exception of ours, or nothing.   ``ONLY=bert,phi3`` picks rows; ``JOBS=2`` runs two at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 900
ROOT = Path(__file__).parents[2]
COLUMNS = ("architecture", "ffn", "attention", "in reach", "search", "ac.load", "AutoModel", "noted, or in the way")


@dataclass(frozen=True)
class Row:
    """What one architecture answered; ``fault`` is an exception that nobody turned into a line, or a hang."""

    name: str
    found: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def silent(self) -> bool:
        """Whether the row says neither that the search was verified nor why not."""
        return not self.fault and not self.found.get("search")

    def cells(self) -> list[str]:
        found = self.found
        reach = f"{found['reach']:.0%}" if "reach" in found else ""
        notes = self.fault or "; ".join(found.get("notes", []))
        return [
            self.name, found.get("ffn", ""), found.get("attention", ""), reach, found.get("search", ""),
            found.get("load", ""), found.get("auto", ""), notes.replace("|", "/"),
        ]  # fmt: skip


def main() -> int:
    """Print the table; 1 when a row has a fault or says nothing."""
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    names = _names()
    strangers = [name for name in only if name not in names]
    if strangers:
        print(f"ONLY names {strangers[0]!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "1"))) as pool:
        rows = []
        for row in pool.map(_row, only or names):
            rows.append(row)
            print(f"{len(rows)}/{len(only or names)} {' | '.join(row.cells())}", file=sys.stderr, flush=True)
    print(markdown(rows))
    print(summary(rows))
    return int(any(row.fault or row.silent for row in rows))


def markdown(rows: Sequence[Row]) -> str:
    """The table; groups are counted as bound / found."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join(lines + ["| " + " | ".join(row.cells()) + " |" for row in rows])


def summary(rows: Sequence[Row]) -> str:
    """The counts in a line."""
    kept = sum(row.found.get("search") == "verified" for row in rows)
    both = sum(row.found.get("load") == "equal" and row.found.get("auto") in ("equal", "-") for row in rows)
    faults, silent = sum(bool(row.fault) for row in rows), sum(row.silent for row in rows)
    done = f"{kept} searches verified, {both} load both ways"
    return f"\n{len(rows)} architectures: {done}; faults {faults}, silent rows {silent}"


def _names() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.families import ALL; print(*ALL)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def _row(name: str) -> Row:
    command = [sys.executable, "-m", "tests.benchmarks.coverage_row", name]
    environment = {**os.environ, "AUTOCOMPRESS_CACHE": "", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Row(name, fault=f"still running after {SECONDS} s")
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("{"):
        cause = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Row(name, fault=f"exit {done.returncode}: {cause[:160]}")
    found = json.loads(last[0])
    return Row(name, found, found.pop("fault", ""))


if __name__ == "__main__":
    sys.exit(main())
