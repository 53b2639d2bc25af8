"""The dense model's own figures, measured once in a fresh process of its own."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from autocompress.artifact import Record
from autocompress.basics.units import format_seconds
from autocompress.core.measurement import Measurement
from autocompress.core.progress import Event, Progress
from autocompress.measure.interval import interval
from autocompress.measure.latency import time_interleaved
from autocompress.measure.lock import device_lock
from autocompress.request.setup import Setup, base_of
from autocompress.sessions import Session, run_session
from autocompress.sessions.parent import once_more
from autocompress.storage.store import Store

DRIFT = 0.2
"""How far the dense model may be from its figure of an earlier search; a shared machine drifts by half of it."""


def measure_baseline(
    setup: Setup, store: Store, context: str, progress: Progress
) -> tuple[dict[str, Measurement], list[Session]]:
    """Latency, its 95th percentile and memory of the dense model, and the raw session if this search measured it.

    The figures of an earlier search are taken where a short check finds the machine as fast as it was.
    """
    progress(Event("baseline", message="timing the dense model in a fresh process"))

    def measure() -> object:
        def session() -> Session:
            return run_session(
                None,
                target=setup.target,
                seed=setup.request.seed,
                base=base_of(setup),
                dense=origin(setup),
                inputs=setup.example,
                plugins=setup.request.plugins,
            )

        return once_more(session, lambda said: progress(Event("baseline", message=said, note=True))).to_json()

    key = f"baseline/{context}"
    ours, reused = key in store, store.reused
    session = Session.from_json(store.memo(key, measure))
    earlier = not ours and store.reused > reused
    if earlier:
        now, then = _quick(setup), median(session.dense_latency)
        if abs(now / then - 1) > DRIFT:
            message = f"dense: {format_seconds(then)} in an earlier search, {format_seconds(now)} now; timing it again"
            progress(Event("baseline", message=message, note=True))
            session, earlier = Session.from_json(store.renew(key, measure)), False
    times = [session.dense_latency]
    figures = {
        "latency": interval(times),
        "latency.p95": interval(times, statistic="p95"),
        "memory": interval([[session.memory]]),
    }
    return figures, [] if earlier else [session]


def _quick(setup: Setup) -> float:
    """Seconds of the dense model in this process, from a few calls."""
    program = setup.program
    with device_lock(setup.target.device):
        calls = {"dense": lambda: program(setup.example)}
        return median(time_interleaved(calls, device=setup.target.device, seconds=0.3, warmup=0.3)["dense"])


def origin(setup: Setup) -> Record:
    """How to load the dense model again."""
    request = setup.request
    return Record(
        source=lasting(setup.loaded.source, setup.loaded.folder),
        loader=setup.loaded.loader,
        task=setup.loaded.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
        command=request.replay(),
        seeds={"search": request.seed},
    )


def lasting(source: str, folder: Path | None) -> str:
    """What was typed for a model, so that it is found again from anywhere: a path as an absolute one.

    folder   where the loader found it, if it says so: then a name is no path because something here is called so too.
    """
    path = Path(source)
    if not source or not path.exists() or (folder is not None and path.resolve() != folder.resolve()):
        return source
    return str(path.absolute())
