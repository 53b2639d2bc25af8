"""The dense model's own figures, measured once in a fresh process of its own."""

from __future__ import annotations

from autocompress.artifact import Record, Session, run_session
from autocompress.measure.interval import interval
from autocompress.measurement import Measurement
from autocompress.run.folder import RunFolder
from autocompress.run.progress import Event, Progress
from autocompress.run.setup import Setup, base_of


def measure_baseline(
    setup: Setup, folder: RunFolder, context: str, progress: Progress
) -> tuple[dict[str, Measurement], list[Session]]:
    """Latency, its 95th percentile and memory of the dense model, and the raw session."""
    progress(Event("baseline", message="timing the dense model in a fresh process"))

    def measure() -> object:
        base = base_of(setup)
        return run_session(
            None, target=setup.target, seed=setup.request.seed, base=base, dense=origin(setup), inputs=setup.example
        ).to_json()

    session = Session.from_json(folder.store.memo(f"baseline/{context}", measure))
    times = [session.dense_latency]
    return {
        "latency": interval(times),
        "latency.p95": interval(times, statistic="p95"),
        "memory": interval([[session.memory]]),
    }, [session]


def origin(setup: Setup) -> Record:
    """How to load the dense model again."""
    request = setup.request
    return Record(
        source=setup.loaded.source,
        task=setup.loaded.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
        command=request.replay(),
        seeds={"search": request.seed},
    )
