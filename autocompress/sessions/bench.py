"""`bench`: measure an artifact again, session by session, until its budgets are decided or cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifact.manifest import Manifest, Record, read_manifest, size
from autocompress.artifact.needs import check_needs
from autocompress.core.measurement import Measurement
from autocompress.core.objective import Budget
from autocompress.core.target import Target
from autocompress.errors import TrialError
from autocompress.measure.interval import interval, ratio
from autocompress.measure.machine import fingerprint
from autocompress.measure.verdict import MOST_SESSIONS, SESSIONS, Verdict, judge, judge_sessions, needs_more, overall
from autocompress.plugin.registry import load_registry
from autocompress.sessions.parent import SECONDS, TIMEOUT, Session, limit_after, run_session
from autocompress.sessions.process import SessionLostError

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[int, int, str], None]
"""Sessions done, sessions at most, and a line for the user."""

MOST_LOST = 2
MEASURED = ("latency", "memory", "size")
"""Objectives that need nothing but the artifact; quality needs data and belongs to the caller."""


@dataclass(frozen=True)
class BenchReport:
    """What the sessions found.

    measurements   ``latency``, ``latency.p95``, ``memory``, ``size`` of the artifact; with the dense model beside it
                   ``dense.latency`` and ``ratio.latency``; with a session of its own ``dense.memory``.
    verdicts       one a budget on latency, memory or size.   state: ``kept``, ``missed`` or ``undecided``.
    causes         of sessions that crashed or hung, and were repeated.   notes: lines for the user.
    """

    folder: Path
    target: Target
    measurements: Mapping[str, Measurement]
    verdicts: tuple[Verdict, ...] = ()
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sessions: tuple[Session, ...] = field(default=(), repr=False)

    @property
    def state(self) -> str:
        return overall(self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "state": self.state,
            "target": self.target.to_json(),
            "measurements": {name: found.to_json() for name, found in self.measurements.items()},
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "causes": list(self.causes),
            "notes": list(self.notes),
        }


def bench(
    folder: str | Path,
    *,
    sessions: int = SESSIONS,
    most: int = MOST_SESSIONS,
    target: Target | None = None,
    budgets: Sequence[Budget] = (),
    base: nn.Module | Callable[[], nn.Module] | None = None,
    inputs: Mapping[str, Tensor] | None = None,
    seconds: float = SECONDS,
    timeout: float = TIMEOUT,
    seed: int = 0,
    dense_memory: bool = False,
    trust: bool = False,
    plugins: Sequence[object] = (),
    progress: Progress | None = None,
) -> BenchReport:
    """Measure an artifact in fresh processes, interleaved with its dense model, and judge the budgets.

    sessions      at least this many; more while a budget is undecided, up to ``most``.
    target        by default the one that it was searched for.
    timeout       the most seconds of a session; later ones may take no more than a multiple of those before them.
    plugins       objects and modules beside the installed plugins.
    trust         load the dense model with the permissions in the manifest (pickles, remote code): for your own only.
    dense_memory  also measure the dense model alone (done anyway when a relative memory budget needs it).
    Raises ArtifactError when it is none; TrialError with the cause when it cannot be loaded or run, or when
    `MOST_LOST` sessions crashed or hung.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    check_needs(manifest, load_registry(plugins), where=str(path), dense=base is None)
    target = target or manifest.target
    judged = [budget for budget in budgets if budget.objective.name in MEASURED]
    options: dict[str, Any] = {"target": target, "base": base, "seconds": seconds, "plugins": tuple(plugins)}
    run = _Run(path, manifest, inputs, options, timeout, progress or _silent, max(most, sessions), trust)
    dense = None
    if dense_memory or any(budget.relative and budget.objective.name == "memory" for budget in judged):
        dense = run.session(None, seed)
    done: list[Session] = []
    verdicts: list[Verdict] = []
    while needs_more(verdicts, len(done), least=sessions, most=max(most, sessions)):
        done.append(run.session(path, seed + 1 + len(done)))
        verdicts = [_judge(budget, done, dense, path, manifest) for budget in judged]
    return BenchReport(
        path,
        target,
        _measurements(done, dense, size(path, manifest)),
        tuple(verdicts),
        tuple(run.causes),
        tuple(_notes(manifest, target, done)),
        tuple(done),
    )


@dataclass
class _Run:
    """Runs sessions; one that crashes or hangs is recorded and tried again, until too many have."""

    path: Path
    manifest: Manifest
    inputs: Mapping[str, Tensor] | None
    options: Mapping[str, Any]
    timeout: float
    progress: Progress
    most: int
    trust: bool
    causes: list[str] = field(default_factory=list)
    known: list[Session] = field(default_factory=list)
    done: int = 0

    def session(self, folder: Path | None, seed: int) -> Session:
        what = "the dense model alone" if folder is None else f"session {self.done + 1}"
        inputs = self.inputs if folder is not None or self.inputs is not None else self._saved_inputs()
        while True:
            self.progress(self.done, self.most, f"measuring {what} in a fresh process")
            try:
                dense = self._origin() if folder is None or self.trust else None
                timeout = min(self.timeout, limit_after(self.known))
                found = run_session(folder, seed=seed, dense=dense, inputs=inputs, timeout=timeout, **self.options)
            except SessionLostError as error:
                self.causes.append(str(error))
                if len(self.causes) >= MOST_LOST:
                    raise TrialError(f"{str(self.path)!r} cannot be measured: {error}") from error
                continue
            self.known.append(found)
            self.done += folder is not None
            return found

    def _origin(self) -> Record:
        record = self.manifest.record
        return record if self.trust else replace(record, trust_remote_code=False, allow_pickle=False)

    def _saved_inputs(self) -> Mapping[str, Tensor] | None:
        """The dense model alone runs on what the artifact runs on."""
        from autocompress.artifact.manifest import EXAMPLE
        from autocompress.artifact.tensors import fit_inputs, read_tensors

        if EXAMPLE not in self.manifest.files:
            return None
        return fit_inputs(read_tensors(self.path / EXAMPLE), self.manifest.target, self.options["target"])


def _judge(budget: Budget, done: Sequence[Session], dense: Session | None, path: Path, manifest: Manifest) -> Verdict:
    name = budget.objective.name
    if name == "size":
        weights, whole = float(size(path, manifest)), _dense_size(done, dense)
        scale = whole if budget.relative and whole else 1.0
        return judge(budget, Measurement.exact(weights / scale), dense=whole)
    if name == "memory":
        grown = interval([[session.memory] for session in done])
        if not budget.relative or dense is None:
            return judge(budget, grown)
        return judge(budget, ratio([[s.memory] for s in done], [[dense.memory]] * len(done)), dense=dense.memory)
    times, reference = [s.latency for s in done], [s.dense_latency for s in done]
    if all(reference):
        return judge_sessions(budget, times, reference)
    return judge(budget, interval(times, statistic=budget.statistic))


def _dense_size(done: Sequence[Session], dense: Session | None) -> float | None:
    """Bytes of the dense model's state, from a session that had it; None when none had."""
    if dense is not None:
        return dense.details["weights"]
    return done[0].details.get("dense_weights")


def _measurements(done: Sequence[Session], dense: Session | None, weights: int) -> dict[str, Measurement]:
    times, reference = [s.latency for s in done], [s.dense_latency for s in done]
    found = {
        "latency": interval(times),
        "latency.p95": interval(times, statistic="p95"),
        "memory": interval([[session.memory] for session in done]),
        "size": Measurement.exact(float(weights)),
    }
    weights_of_dense = _dense_size(done, dense)
    if weights_of_dense is not None:
        found["dense.size"] = Measurement.exact(weights_of_dense)
    if all(reference):
        found["dense.latency"] = interval(reference)
        found["dense.latency.p95"] = interval(reference, statistic="p95")
        found["ratio.latency"] = ratio(times, reference)
    if dense is not None:
        found["dense.memory"] = Measurement.exact(dense.memory)
    return found


def _notes(manifest: Manifest, target: Target, done: Sequence[Session]) -> list[str]:
    notes = []
    if (target.batch, target.sequence) != (manifest.target.batch, manifest.target.sequence):
        notes.append(f"at batch {target.batch}, sequence {target.sequence}: its own inputs, repeated or cut")
    here, there = fingerprint(target.device), manifest.target.fingerprint
    for name in ("gpu", "cpu"):
        if there.get(name) and here.get(name) != there[name]:
            notes.append(f"measured on {here.get(name)}, the artifact was searched for {there[name]}")
    if not all(session.dense_latency for session in done):
        notes.append("the dense model is not known to the artifact, so it was timed alone: expect a wider interval")
    return notes


def _silent(_done: int, _most: int, _note: str) -> None:
    """Without a progress callback nothing is shown."""
