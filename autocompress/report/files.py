"""The files of a finished search: tables for machines and people, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autocompress.basics.atomic import write_whole
from autocompress.core.policy import Policy
from autocompress.core.trial import Trial
from autocompress.report.policy_words import policy_words
from autocompress.report.result import Layer, Result


def write_run(result: Result, folder: Path) -> tuple[Path, ...]:
    """Write ``front``, ``trials`` and ``layers.csv``, ``result`` and ``policy.json``, and ``front.png``."""
    from autocompress.report.plot import plot_front

    written = [
        write_trials(folder / "front.csv", result.front),
        write_trials(folder / "trials.csv", result.trials),
        write_layers(folder / "layers.csv", result.layers),
        write_json(folder / "result.json", result.to_json()),
    ]
    if result.policy is not None:
        written.append(write_policy(folder / "policy.json", result.policy))
    written.append(plot_front(result, folder / "front.png"))
    return tuple(written)


def write_trials(path: Path, trials: Sequence[Trial]) -> Path:
    """One trial a row, SI units; the columns are the union of all rows, so that failed trials fit in."""
    rows = [trial.row() | {"words": policy_words(trial.policy)} for trial in trials]
    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, text.getvalue())


def write_layers(path: Path, layers: Sequence[Layer]) -> Path:
    """One changed layer a row: what it was predicted to save in seconds, and saves."""
    text = io.StringIO()
    names = ("layer", "option", "dense", "predicted", "measured", "damage")
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(layer.to_json() for layer in layers)
    return write_whole(path, text.getvalue())


def write_json(path: Path, document: Mapping[str, Any]) -> Path:
    """Indented JSON; a path or any other stranger is written as text."""
    return write_whole(path, json.dumps(document, indent=1, default=str) + "\n")


def write_policy(path: Path, policy: Policy) -> Path:
    """The policy as `Policy.load` reads it."""
    return write_whole(path, policy.text())
