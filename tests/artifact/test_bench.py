"""Sessions in fresh processes: real figures, recorded causes, no hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from tiny_models import Made
from torch import nn

from autocompress.artifact import Record, read_manifest
from autocompress.artifact.manifest import MANIFEST
from autocompress.core.objective import parse_budgets
from autocompress.errors import ArtifactError, TrialError
from autocompress.sessions import Session, bench, run_session


class Hanging(nn.Module):
    """Sleeps for ever when it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(600)
        return x


class Dying(nn.Module):
    """Takes its process with it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        import os

        os.abort()
        return x


def test_bench_from_the_folder_alone(make: Callable[..., Made], tmp_path: Path) -> None:
    source = tmp_path / "dense"
    made = make("bert", record=Record(source=str(source), task="embedding"))
    made.dense.save_pretrained(source)
    lines: list[str] = []
    budgets = parse_budgets(["latency=1000s", "latency.p95=1000s", "memory=100%", "size=90%", "quality=0.5"])
    report = bench(
        made.folder, sessions=1, most=1, seconds=0.3, budgets=budgets, progress=lambda *said: lines.append(said[2])
    )
    assert report.sessions[0].seconds > 0
    assert {verdict.budget.name for verdict in report.verdicts} == {"latency", "latency.p95", "memory", "size"}
    assert next(v for v in report.verdicts if v.budget.name == "size").kept
    assert next(v for v in report.verdicts if v.budget.name == "latency").kept
    assert report.measurements["ratio.latency"].median > 0
    assert report.measurements["dense.size"].median > report.measurements["size"].median
    assert lines[0] == "measuring the dense model alone in a fresh process"
    assert report.causes == ()
    assert report.to_json()["state"] in ("kept", "missed", "undecided")
    assert all(Session.from_json(session.to_json()) == session for session in report.sessions)


def test_a_module_from_python_goes_over_the_pipe(make: Callable[..., Made]) -> None:
    made = make("plain")
    target = read_manifest(made.folder).target
    beside = run_session(made.folder, target=target, base=made.dense, seconds=0.1)
    assert beside.latency
    assert len(beside.dense_latency) == len(beside.latency)
    alone = run_session(None, target=target, base=made.dense, inputs=made.inputs, seconds=0.1)
    assert alone.latency == ()
    assert alone.dense_latency
    assert alone.details["weights"] >= sum(t.nbytes for t in set(made.dense.parameters()))


@pytest.mark.parametrize(
    ("module", "cause", "timeout"),
    [(Hanging, r"did not answer within 6 s", 6.0), (Dying, r"was ended by SIGABRT", 60.0)],
)
def test_sessions_that_hang_or_crash_have_a_cause(
    module: type[nn.Module], cause: str, timeout: float, make: Callable[..., Made]
) -> None:
    made = make("plain")
    with pytest.raises(TrialError, match=cause):
        run_session(None, target=read_manifest(made.folder).target, base=module(), inputs=made.inputs, timeout=timeout)
    assert not psutil.Process().children(recursive=True), "it was ended, not left behind"


def test_what_cannot_be_loaded_says_so(make: Callable[..., Made], tmp_path: Path) -> None:
    made = make("bert", record=Record(source=str(tmp_path / "gone"), task="embedding"))
    with pytest.raises(TrialError, match="gone"):
        bench(made.folder, sessions=1, seconds=0.1)
    (made.folder / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=MANIFEST):
        bench(made.folder)


def test_without_a_source_the_artifact_is_timed_alone(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    wider = replace(read_manifest(folder).target, batch=3, sequence=20)
    report = bench(folder, sessions=1, most=1, seconds=0.1, budgets=parse_budgets(["10s"]), target=wider)
    assert "batch 3, sequence 20" in report.notes[0]
    assert "timed alone" in report.notes[1]
    assert "ratio.latency" not in report.measurements
    assert report.verdicts[0].kept
