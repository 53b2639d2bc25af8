"""One trial: a policy is set on the workbench, scored on the validation rows and timed against the dense model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import Any

import torch
from torch import nn

from autocompress.compress import Workbench
from autocompress.contracts.evaluator import Batch, Score, inputs_of
from autocompress.contracts.runtime import Program, closing
from autocompress.core.objective import MAXIMIZE, Objective
from autocompress.core.policy import Policy
from autocompress.engine.problem import Assignment, Outcome
from autocompress.errors import TrialError
from autocompress.measure.latency import time_interleaved
from autocompress.measure.lock import device_lock
from autocompress.measure.memory import cuda_peak
from autocompress.request.setup import Setup
from autocompress.storage.store import Store

SECONDS, ROUNDS = 1.0, 40
MOST_BEGUN = 2
"""Times that a trial may end the whole process, by a crash in a library say, before it counts as failed."""
RUNG = 1
"""Batches of a rung of a race."""
SESSION_SD = 0.01
"""Bias of one process's timings that its own repeats cannot show, relative; see the verdict's floor."""
MEMORY_SD = 0.05
"""Relative uncertainty of memory that was computed from bytes on a CPU; the verdict measures it."""


@dataclass(frozen=True)
class Dense:
    """The dense model's figures in SI units: what ratios and relative budgets refer to."""

    latency: float
    p95: float
    memory: float
    bytes: int
    quality: float

    @property
    def working(self) -> float:
        """Bytes beyond the weights where a fresh process runs it: what a compressed copy is expected to need too."""
        return self.memory - self.bytes


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all distinct tensors in the model's state."""
    distinct = {(t.data_ptr(), t.nbytes): t.nbytes for t in model.state_dict().values()}
    return sum(distinct.values())


class Trials:
    """Evaluates assignments; every finished evaluation is stored under its policy and never repeated."""

    def __init__(
        self,
        setup: Setup,
        bench: Workbench,
        policy_of: Callable[[Assignment], Policy],
        dense: Dense,
        objectives: Sequence[Objective],
        store: Store,
        context: str,
    ) -> None:
        self._setup, self._bench, self._policy_of, self._dense = setup, bench, policy_of, dense
        self._evaluator, self._batches, self._example = setup.evaluator, setup.rows["search"], setup.example
        self._objectives, self._store, self._context = objectives, store, context
        self._reference: Any = None
        self._references: dict[int, Any] = {}
        self.screening = 0.0

    def __call__(self, assignment: Assignment) -> Outcome:
        """What the engine calls. A policy that cannot be built, run or scored is an outcome with its cause."""
        policy = self._policy_of(assignment)
        try:
            found = self._store.memo(f"trial/{self._context}/{policy.digest()}", lambda: self._survived(policy))
        except TrialError as error:
            return Outcome({}, cause=str(error))
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            return Outcome({}, cause=f"out of memory: {str(error).splitlines()[0]}")
        return self._outcome(found)

    def screen(self, assignment: Assignment, rung: int) -> list[float] | None:
        """Losses per row on the rung's batches, the first of the search split; the policy is not timed."""
        policy = self._policy_of(assignment)

        def measure() -> dict[str, Any]:
            started = time.monotonic()
            batches = self._batches[rung * RUNG : (rung + 1) * RUNG] or self._batches[-RUNG:]
            if rung not in self._references:
                self._references[rung] = self._evaluator.reference(self._run_dense, batches)
            with closing(self._setup.lower(self._bench.set(policy), policy)) as program:
                score = self._evaluator.score(lambda batch: program(inputs_of(batch)), batches, self._references[rung])
            rows = score.per_row or (score.value,)
            return {"losses": [self._dense.quality - row for row in rows], "seconds": time.monotonic() - started}

        try:
            found = self._store.memo(f"screen/{self._context}/{policy.digest()}/{rung}", measure)
        except TrialError:
            return None
        self.screening += found["seconds"]
        return list(found["losses"])

    def details(self, policy: Policy) -> dict[str, Any]:
        """Everything that was stored for a policy that was evaluated."""
        stored: dict[str, Any] = self._store.get(f"trial/{self._context}/{policy.digest()}")
        return stored

    def _survived(self, policy: Policy) -> dict[str, Any]:
        """Measure a policy that did not end the process each time it was tried: resuming must not end it for ever."""
        key = f"begun/-/{policy.digest()}"
        begun = int(self._store.get(key)) if key in self._store else 0
        if begun >= MOST_BEGUN:
            raise TrialError(f"ended the process {begun} times while it was tried")
        self._store.put(key, begun + 1)
        try:
            return self._measure(policy)
        finally:  # whatever is raised, an interrupt too, the process lives
            self._store.put(key, begun)

    def _measure(self, policy: Policy) -> dict[str, Any]:
        started = time.monotonic()
        model = self._bench.set(policy)
        try:
            with closing(self._setup.lower(model, policy)) as program:
                quality = self._score(program)
                ratios, tails = self._time(program)
                working = self._working_memory(program)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise TrialError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
        return {
            "quality": quality.value,
            "details": dict(quality.details),
            "ratios": [round(sample, 5) for sample in ratios],
            "tail": tails,
            "bytes": weight_bytes(model),
            "working memory": working,
            "custom": {o.name: self._custom(o, model) for o in self._objectives if o.function is not None},
            "seconds": time.monotonic() - started,
        }

    def _outcome(self, found: Mapping[str, Any]) -> Outcome:
        """What was measured, as figures of this search: what is relative refers to its own dense model's."""
        dense, ratios, weights = self._dense, found["ratios"], found["bytes"]
        ratio = median(ratios)
        # On a GPU the peak was measured; on a CPU only a fresh process can tell, at the verdict.
        working, measured = found["working memory"], found["working memory"] is not None
        memory = float(weights + (working if measured else dense.working))
        values = {
            "loss": dense.quality - found["quality"],
            "latency": ratio * dense.latency,
            "latency.p95": found["tail"] * dense.p95,
            "memory": memory,
            "size": float(weights),
            **found["custom"],
        }
        within = 1.2533 * stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else 0.0
        sd = math.hypot(within, SESSION_SD * ratio) * dense.latency
        spread = {"latency": sd, "latency.p95": sd, "memory": 0.0 if measured else MEMORY_SD * memory}
        return Outcome(values, spread, None, found["seconds"])

    def _run_dense(self, batch: Batch) -> Any:
        return self._setup.program(inputs_of(batch))

    def _score(self, program: Program) -> Score:
        if self._reference is None:
            self._reference = self._evaluator.reference(self._run_dense, self._batches)
        return self._evaluator.score(lambda batch: program(inputs_of(batch)), self._batches, self._reference)

    def _time(self, program: Program) -> tuple[list[float], float]:
        """Per-round ratios to the dense model, and the ratio of the 95th percentiles."""
        calls = {"dense": lambda: self._setup.program(self._example), "this": lambda: program(self._example)}
        with device_lock(self._setup.target.device):
            times = time_interleaved(
                calls, device=self._setup.target.device, rounds=ROUNDS, seconds=SECONDS, minimum=9, warmup=0.3
            )
        ratios = [own / base for own, base in zip(times["this"], times["dense"], strict=True)]
        tail = {name: sorted(samples)[math.ceil(0.95 * len(samples)) - 1] for name, samples in times.items()}
        return ratios, tail["this"] / tail["dense"]

    def _working_memory(self, program: Program) -> int | None:
        """Bytes at the peak of a call beyond the weights; None where it cannot be measured in this process."""
        if self._setup.target.device != "cuda":
            return None
        before = torch.cuda.memory_allocated()
        _, allocated, _reserved = cuda_peak(lambda: program(self._example))
        return int(allocated - before)

    def _custom(self, objective: Objective, model: nn.Module) -> float:
        assert objective.function is not None
        try:
            value = float(objective.function(model))
        except (Exception, SystemExit) as error:  # a user's function may raise anything; the search goes on
            raise TrialError(f"objective {objective.name!r}: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            raise TrialError(f"objective {objective.name!r} is {value}")
        return -value if objective.direction == MAXIMIZE else value
