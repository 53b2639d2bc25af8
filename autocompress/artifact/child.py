"""One measuring session: a fresh process, asked over a pipe, watched, and ended when it hangs."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifact import launch
from autocompress.artifact.manifest import Record
from autocompress.errors import TrialError
from autocompress.measure.lock import device_lock
from autocompress.target import Target

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger(__name__)
MODULE = "autocompress.artifact.session"
SECONDS = 6.0
"""Time for the timed rounds of one session."""
TIMEOUT = 600.0


class SessionLostError(TrialError):
    """The session crashed or hung: unlike an error that it reports, this may go better the next time."""


@dataclass(frozen=True)
class Session:
    """Raw figures of one session, in seconds and bytes.

    latency         samples of the artifact; () in a session of the dense model alone.
    dense_latency   samples of the dense model from the same rounds; () when it could not be loaded.
    memory          of what was loaded first, the artifact or else the dense model: on a CPU the growth of resident
                    memory while it runs, over the process before it was loaded; on a GPU the peak allocated.
    details         ``load_peak`` (growth at the worst moment of loading), ``reserved`` (GPU), ``weights`` (bytes of the
                    loaded model's state), ``dense_weights`` (of the dense model beside it).
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
) -> Session:
    """Measure an artifact, interleaved with its dense model, in a process of its own, with the device to itself.

    folder   the artifact; None measures the dense model alone.
    base     the dense module when it came from Python; sent over the pipe, never written to disk.
    dense    how to load the dense model (``source``, ``task``, permissions); by default what the artifact's manifest
             says, without its permissions for pickles and remote code.
    inputs   by name; by default those saved in the artifact, or random ones of the target's batch and sequence.
    Raises TrialError with the cause when something cannot be loaded or run, and its kind SessionLostError when the
    session crashes or hangs for ``timeout`` seconds.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autocompress-") as scratch:
        request: dict[str, Any] = {
            "folder": None if folder is None else str(folder),
            "dense": None if dense is None else asdict(dense),
            "target": target.to_json(),
            "seconds": seconds,
            "seed": seed,
            "inputs": None,
            "base": base is not None,
            "modules": None if base is None else launch.user_modules(),
        }
        if inputs is not None:
            from autocompress.artifact.tensors import write_tensors

            request["inputs"] = str(Path(scratch) / "inputs.safetensors")
            write_tensors(inputs, Path(request["inputs"]))
        with device_lock(target.device):
            answer = _ask(request, _payload(base), target, timeout)
    return Session.from_json({**answer, "seconds": time.monotonic() - started})


def _payload(base: Any) -> bytes:
    if base is None:
        return b""
    import cloudpickle

    return bytes(cloudpickle.dumps(base))


def _ask(request: dict[str, Any], payload: bytes, target: Target, timeout: float) -> dict[str, Any]:
    with _lifeline() as (read, _):
        request["lifeline"] = read
        process = subprocess.Popen(
            launch.command(MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=launch.child_environment(target),
            pass_fds=(read,),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(json.dumps(request).encode() + b"\n" + payload, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise SessionLostError(
                f"the measuring session did not answer within {timeout:.0f} s and was ended."
            ) from None
        finally:
            _end(process)
    text = err.decode(errors="replace").strip()
    logger.debug("measuring session: %s", text)
    return _answer(out, process.returncode, text)


def _answer(out: bytes, code: int, err: str) -> dict[str, Any]:
    lines = out.decode(errors="replace").strip().splitlines()
    if code == 0 and lines:
        answer = json.loads(lines[-1])
        if "error" in answer:
            raise TrialError(f"the measuring session failed: {answer['error']}")
        assert isinstance(answer, dict)
        return answer
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    last = err.splitlines()[-1] if err else "it said nothing"
    raise SessionLostError(f"the measuring session {how}: {last}")


@contextmanager
def _lifeline() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end dies with us, however we die: the session watches the reading end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session and whatever it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
