"""Options run once in a process of their own before they may run in ours: what hangs or dies there is not offered.

The process is a fork of this one, so that it starts at once, holds the model without a copy, and takes with it whatever
was done to either. One process proves option after option; only one that dies or hangs costs another process.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from autocompress.basics.patience import TookTooLongError, allowed
from autocompress.compress import Workbench, build_layers
from autocompress.compress.untouched import ChangedError, untouched
from autocompress.core.layer import Layer
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.plugin.registry import Registry
from autocompress.space.binding import Binding, Slot
from autocompress.structure import Recorded

logger = logging.getLogger(__name__)
LATE = 10.0
"""Seconds more than the process itself allows: what Python can end ends there, with its words."""
MOST_DEATHS = 3
"""Options of one technique that may die before none of its options is tried any more."""
Case = tuple[Layer, Step]


@dataclass(frozen=True)
class Trier:
    """Tries one option on one layer: builds it, compresses, and runs the layer's owner on a recorded call."""

    bench: Workbench
    registry: Registry
    recorded: Mapping[str, Recorded]

    def dense(self, layer: Layer) -> None:
        """Run the owner of a layer as it is."""
        with torch.inference_mode():
            self.recorded[layer.owner].run(self.bench.dense.get_submodule(layer.owner))

    def __call__(self, layer: Layer, step: Step) -> None:
        """Raises what it raises; ChangedError when the dense model's own weights were changed."""
        policy = Policy({layer.fqn: LayerPolicy((step,))})
        dense = [self.bench.dense.get_submodule(fqn) for fqn in layer.modules]
        with untouched(dense, f"{step.label()} on {layer.fqn!r}"):
            build_layers(self.bench.dense, policy, [layer], self.registry)
            model = self.bench.set(policy)
            with torch.inference_mode():
                self.recorded[layer.owner].run(model.get_submodule(layer.owner))
            self.bench.set(Policy())


@dataclass
class Proof:
    """What was proven so far. A new shape of a known option, and a new option of a known shape, are each tried once.

    refused   (layer kind, technique, option label or "", shapes or "") to the cause; "" stands for all of them.
    """

    safe: set[tuple[str, ...]] = field(default_factory=set)
    refused: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)

    def open(self, layer: Layer, step: Step) -> bool:
        """Whether the case still tells something."""
        if self.cause(layer, step):
            return False
        return not {_of_label(layer, step), _of_shape(layer, step)} <= self.safe

    def ran(self, layer: Layer, step: Step) -> None:
        self.safe |= {_of_label(layer, step), _of_shape(layer, step)}

    def refuse(self, layer: Layer, step: Step, cause: str, *, all_of_it: bool) -> None:
        """Refuse the option; the technique on this shape when the option ran on another; or all of the technique."""
        count = self.deaths[step.technique] = self.deaths.get(step.technique, 0) + 1
        if all_of_it or count >= MOST_DEATHS:
            self.refused["", step.technique, "", ""] = cause
        elif _of_label(layer, step) in self.safe:
            self.refused[layer.kind, step.technique, "", _shapes(layer)] = cause
        else:
            self.refused[layer.kind, step.technique, step.label(), ""] = cause

    def cause(self, layer: Layer, step: Step) -> str:
        """Why an option is refused to a layer, or ""."""
        kind, name, label = layer.kind, step.technique, step.label()
        keys = (("", name, "", ""), (kind, name, label, ""), (kind, name, "", _shapes(layer)))
        return next((self.refused[key] for key in keys if key in self.refused), "")

    def without(self, binding: Binding) -> Binding:
        """The binding without what was refused; what was dropped is noted with its cause."""
        dropped, slots = dict(binding.dropped), []
        for slot in binding.slots:
            options = []
            for option in slot.options:
                causes = [why for step in option.steps for one in slot.layers if (why := self.cause(one, step))]
                if causes:
                    dropped[f"{option.label()} on {slot.name}"] = causes[0]
                else:
                    options.append(option)
            if len(options) > 1:
                slots.append(Slot(slot.name, slot.layers, tuple(options)))
        return Binding(tuple(slots), dropped)


def cases_of(slots: Sequence[Slot]) -> list[Case]:
    """Every step that is offered to every layer, the smallest layers first."""
    found = {
        (layer.fqn, step.label()): (layer, step)
        for slot in slots
        for layer in slot.layers
        for option in slot.options
        for step in option.steps
    }
    return sorted(found.values(), key=lambda case: case[0].n_params)


def prove(cases: Sequence[Case], run: Callable[[Layer, Step], None], tell: Callable[[str], None]) -> Proof:
    """Try the cases that tell something, in forks of this process; ``tell`` hears of each before it is tried."""
    proof = Proof()
    while True:
        left = [case for case in cases if proof.open(*case)]
        if not left or sys.platform != "linux":  # elsewhere system libraries do not survive a fork
            return proof
        _one_process(left, run, proof, tell)


@dataclass
class _Watch:
    """The case that is being tried, and how long its next message may take."""

    case: Case | None = None

    def patience(self) -> float:
        return allowed(self.case[0].n_params if self.case else 0) + LATE


def _one_process(
    cases: list[Case], run: Callable[[Layer, Step], None], proof: Proof, tell: Callable[[str], None]
) -> None:
    """Prove as many cases as one process survives."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Threads of the display may be running: the fork touches nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(read)
        _child(cases, run, proof, write)
    os.close(write)
    watch, hung = _Watch(), ""
    try:
        for message in _lines(read, watch.patience):
            layer, step = cases[message["case"]]
            if message["state"] == "starts":
                watch.case = layer, step
                tell(f"{step.label()} on {layer.fqn}")
                continue
            if message["cause"]:
                proof.refuse(layer, step, message["cause"], all_of_it=True)
            else:
                proof.ran(layer, step)
            watch.case = None
    except TimeoutError:
        hung = f"did not finish within {watch.patience():.0f} s and was ended"
    finally:
        os.close(read)
        for end in (os.killpg, os.kill):  # with what it started; alone, when it did not come so far
            with suppress(ProcessLookupError, PermissionError):
                end(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if watch.case is not None:
        layer, step = watch.case
        words = hung or f"ended the process that tried it ({_how(os.waitstatus_to_exitcode(status))})"
        proof.refuse(layer, step, f"{step.label()} on {layer.fqn!r} {words}", all_of_it=bool(hung))


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


def _child(cases: list[Case], run: Callable[[Layer, Step], None], proof: Proof, write: int) -> None:
    """Never returns. Threads do not survive a fork: torch must not wait for them."""
    code = 1
    try:
        if threading.current_thread() is threading.main_thread():
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, signal.SIG_DFL)
        os.setpgid(0, 0)
        _die_with_parent()
        torch.set_num_threads(1)
        for number, (layer, step) in enumerate(cases):
            if not proof.open(layer, step):
                continue
            _send(write, {"case": number, "state": "starts"})
            cause = ""
            try:
                run(layer, step)
            except (ChangedError, TookTooLongError) as error:
                cause = str(error)[:500]
            except (Exception, SystemExit):  # it raises here and will raise there, where each option has its cause
                logger.debug("%s on %s raises", step.label(), layer.fqn, exc_info=True)
            if cause:
                proof.refuse(layer, step, cause, all_of_it=True)
            else:
                proof.ran(layer, step)
            _send(write, {"case": number, "state": "ends", "cause": cause})
        code = 0
    finally:
        os._exit(code)


def _die_with_parent() -> None:
    """Ask the kernel to end us when the search ends, however it ends (Linux; elsewhere a hang may outlive it)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _send(write: int, message: Mapping[str, Any]) -> None:
    os.write(write, json.dumps(message).encode() + b"\n")


def _lines(read: int, limit: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Messages until the pipe closes. Raises TimeoutError when the next one takes longer than ``limit``."""
    rest = b""
    while True:
        until = time.monotonic() + limit()
        ready: list[int] = []
        while not ready and (left := until - time.monotonic()) > 0:
            ready = select.select([read], [], [], left)[0]
        if not ready:
            raise TimeoutError
        block = os.read(read, 1 << 16)
        if not block:
            return
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _of_label(layer: Layer, step: Step) -> tuple[str, ...]:
    return ("label", layer.kind, step.label())


def _of_shape(layer: Layer, step: Step) -> tuple[str, ...]:
    return ("shape", layer.kind, step.technique, _shapes(layer))


def _shapes(layer: Layer) -> str:
    return str(sorted((role, tuple(shape)) for role, shape in layer.shapes.items()))
