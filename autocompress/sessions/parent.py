"""One measuring session: the figures of an artifact or of a dense model, from a fresh process."""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifact.manifest import Record
from autocompress.basics.disk import told_when_full
from autocompress.core.target import Target
from autocompress.errors import ModelError, PluginError
from autocompress.measure.lock import device_lock
from autocompress.sessions import launch
from autocompress.sessions.process import SessionLostError, ask

if TYPE_CHECKING:
    from torch import Tensor, nn

MODULE = "autocompress.sessions.child"
SECONDS = 6.0
"""Time for the timed rounds of one session."""
TIMEOUT = 600.0
"""The most seconds of a session while nothing is known of how long one takes here."""
SLOWER, LEAST = 10.0, 120.0
"""A session that takes so many times as long as the ones before it, and as many seconds, hangs."""


@dataclass(frozen=True)
class Session:
    """Raw figures of one session, in seconds and bytes.

    latency         samples of the artifact; () in a session of the dense model alone.
    dense_latency   samples of the dense model from the same rounds; () when it could not be loaded.
    memory          of what was loaded first, the artifact or else the dense model: on a CPU the growth of resident
                    memory while it runs, in a process that has loaded and run it once before, so that code does not
                    count; on a GPU the peak allocated.
    details         ``load_peak`` (growth at the worst moment of loading), ``with_code`` (growth by the first load and
                    run), ``reserved`` (GPU), ``weights`` (bytes of the loaded model's state), ``dense_weights`` (of the
                    dense model beside it).
    """

    latency: tuple[float, ...]
    dense_latency: tuple[float, ...]
    memory: float
    details: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Session:
        samples = {name: tuple(data[name]) for name in ("latency", "dense_latency")}
        return cls(**{**data, **samples})


def limit_after(sessions: Iterable[Session]) -> float:
    """The most seconds that the next session may take, by what earlier ones took."""
    longest = max((session.seconds for session in sessions), default=0.0)
    return min(TIMEOUT, max(LEAST, SLOWER * longest)) if longest else TIMEOUT


def once_more(session: Callable[[], Session], tell: Callable[[str], None]) -> Session:
    """The session; one that crashed is told and tried once more: it may have been the machine's fault."""
    try:
        return session()
    except SessionLostError as error:
        if error.hung:
            raise
        tell(f"{error}; trying once more")
        return session()


def run_session(
    folder: str | Path | None,
    *,
    target: Target,
    seed: int = 0,
    base: nn.Module | Callable[[], nn.Module] | None = None,
    dense: Record | None = None,
    inputs: Mapping[str, Tensor] | None = None,
    seconds: float = SECONDS,
    timeout: float = TIMEOUT,
    plugins: Sequence[object] = (),
) -> Session:
    """Measure an artifact, interleaved with its dense model, in a process of its own, with the device to itself.

    folder   the artifact; None measures the dense model alone.
    base     the dense module when it came from Python; sent over the pipe, never written to disk.
    dense    how to load the dense model (``source``, ``task``, permissions); by default what the artifact's manifest
             says, without its permissions for pickles and remote code.
    inputs   by name; by default those saved in the artifact, or random ones of the target's batch and sequence.
    plugins  objects and modules beside the installed ones, as `load_registry` takes them; sent over the pipe.
    Raises TrialError with the cause when something cannot be loaded or run, and its kind SessionLostError when the
    session crashes or hangs for ``timeout`` seconds; PluginError when a plugin cannot be sent.
    """
    with ExitStack() as stack:
        request: dict[str, Any] = {
            "folder": None if folder is None else str(folder),
            "dense": None if dense is None else asdict(dense),
            "target": target.to_json(),
            "seconds": seconds,
            "seed": seed,
            "inputs": None,
            "base": base is not None,
            "plugins": bool(plugins),
            "modules": launch.user_modules() if base is not None or plugins else None,
        }
        if inputs is not None:
            request["inputs"] = str(_written(inputs, stack))
        payload = _plugins(plugins) + _pickled(base)
        with device_lock(target.device):
            started = time.monotonic()
            answer = ask(MODULE, request, payload, target, timeout)
            took = time.monotonic() - started
    return _session({**answer, "seconds": took})


def _session(answer: Mapping[str, Any]) -> Session:
    """The figures in an answer. Raises SessionLostError when they are none."""
    try:
        session = Session.from_json(answer)
        figures = (*session.latency, *session.dense_latency, session.memory, *session.details.values())
        whole = all(math.isfinite(float(figure)) for figure in figures)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SessionLostError(f"the measuring session answered without its figures ({error}).") from error
    if not whole:
        raise SessionLostError("the measuring session answered with figures that are no numbers.")
    return session


def _written(inputs: Mapping[str, Tensor], stack: ExitStack) -> Path:
    """A file of the inputs that lives as long as the stack."""
    from autocompress.artifact.tensors import write_tensors

    with told_when_full(tempfile.gettempdir()):
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="autocompress-"))
        path = Path(scratch) / "inputs.safetensors"
        write_tensors(inputs, path)
    return path


def _pickled(base: Any) -> bytes:
    """A model that was passed in, for the other process. Raises ModelError when it cannot be pickled."""
    if base is None:
        return b""
    import cloudpickle

    from autocompress.artifact.parametrized import reduced

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, value: Any) -> Any:
            return reduced(value) or super().reducer_override(value)

    written = io.BytesIO()
    try:
        Pickler(written).dump(base)
    except Exception as error:  # whatever the objects inside raise when they are pickled
        raise ModelError(
            f"a {type(base).__name__} cannot be handed to the process that measures it ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}); keep what cannot be pickled out of the "
            "model, or give a folder to load it from."
        ) from error
    return written.getvalue()


def _plugins(plugins: Sequence[object]) -> bytes:
    """Each plugin by the name that it is imported by, or else as it is."""
    if not plugins:
        return b""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(tuple(plugins)))
    except Exception as error:  # whatever the objects inside raise when they are pickled
        names = ", ".join(getattr(plugin, "__name__", type(plugin).__name__) for plugin in plugins)
        raise PluginError(
            f"the plugins {names} cannot be sent to the measuring process ({type(error).__name__}: {error}); "
            "put them in a module that can be imported."
        ) from error
