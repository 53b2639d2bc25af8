"""The measuring process: ``python -P -m autocompress.sessions.child``, one request on stdin, one JSON line on stdout.

Memory first, while nothing but the artifact is in the process; then the dense model beside it, timed in turns.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from autocompress.artifact.manifest import Record, read_manifest
from autocompress.basics.process_state import clean_state
from autocompress.core.target import Target
from autocompress.errors import AutocompressError, ModelError, UsageError
from autocompress.measure.machine import environment, prepare_process
from autocompress.sessions.launch import accept

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autocompress.artifact.reader import Artifact
    from autocompress.plugin.registry import Registry

logger = logging.getLogger(__name__)
RUNS = 3


def main() -> int:
    """Answer one request. Code 0 also when the answer is ``{"error": ...}``: the caller tells the cause."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    answers = _private_stdout()
    request = json.loads(sys.stdin.buffer.readline())
    _die_with_parent(int(request["lifeline"]))
    target = Target.from_json(request["target"])
    os.environ.update(environment(target))
    try:
        with clean_state():
            answer = measure(request, target, sys.stdin.buffer)
    except AutocompressError as error:
        answer = {"error": str(error), "refused": isinstance(error, UsageError)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's kernel may raise anything; the cause goes to the caller
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()
    return 0


def measure(request: Mapping[str, Any], target: Target, pipe: BinaryIO) -> dict[str, Any]:
    """All figures of one session."""
    import torch

    from autocompress.measure.latency import time_interleaved
    from autocompress.plugin.registry import load_registry

    prepare_process(target)
    registry = load_registry(_unpickle_plugins(request, pipe))
    process = _Process(request, target, registry)
    with torch.inference_mode():
        process.warm_up_libraries()
        first, found = process.first(pipe)
        calls = {"latency": first}
        if request["folder"] is None:
            calls = {"dense_latency": first}
        elif process.knows_dense:
            model, calls["dense_latency"] = process.dense()
            found["details"]["dense_weights"] = state_bytes(model)
        samples = time_interleaved(calls, device=target.device, seconds=request["seconds"], seed=request["seed"])
    return {"latency": [], "dense_latency": [], **samples, **found}


class _Process:
    """What is in this process, in the order in which it may be loaded."""

    def __init__(self, request: Mapping[str, Any], target: Target, registry: Registry) -> None:
        self.request, self.target, self.registry = request, target, registry
        self.folder = None if request["folder"] is None else Path(request["folder"])
        self.manifest = None if self.folder is None else read_manifest(self.folder)
        self.origin = Record(**request["dense"]) if request["dense"] else None
        if self.origin is None and self.manifest is not None:
            # An artifact may come from a stranger: only the caller can permit pickles or code from a repository.
            self.origin = replace(self.manifest.record, trust_remote_code=False, allow_pickle=False)
        self.base: nn.Module | None = None
        self.inputs: dict[str, Tensor] | None = None

    def warm_up_libraries(self) -> None:
        """Bring in code that any model of this class needs: it is not the model's memory."""
        import torch

        if self.manifest is not None and self.manifest.kind == "transformers":
            import transformers

            from autocompress.artifact import transformers_loader  # noqa: F401

            getattr(transformers, self.manifest.architecture, None)
        ones = torch.ones(8, 8, device=self.target.device)
        torch.nn.functional.linear(ones, ones)

    def first(self, pipe: BinaryIO) -> tuple[Callable[[], object], dict[str, Any]]:
        """Load and run what is measured; its call, and ``memory`` and ``details``."""
        if self.folder is None:
            return self._measured_dense(self._unpickle(pipe))
        self.base = self._unpickle(pipe)
        if self.base is None and self.manifest is not None and self.manifest.kind == "module" and self.knows_dense:
            self.base = self._load_dense().model  # before anything is measured: it is not the artifact's memory
        return self._measured(self._artifact)

    @property
    def knows_dense(self) -> bool:
        """Whether anybody says where the dense model comes from."""
        return self.base is not None or (self.origin is not None and self.origin.source != "")

    def dense(self) -> tuple[nn.Module, Callable[[], object]]:
        """The dense model and its call."""
        return self._dense(self.base)

    def _measured(
        self, load: Callable[[], tuple[float, Callable[[], object]]]
    ) -> tuple[Callable[[], object], dict[str, Any]]:
        """Figures of what ``load`` brings in: the bytes of its weights, and its call."""
        if self.target.device == "cuda":
            return self._measured_cuda(load)
        from autocompress.measure.memory import release_free_memory, resident, resident_peak

        start = resident()
        weights, call = load()
        call()  # code that the first load and call bring in is the process's, not the model's
        with_code = resident() - start
        del call
        release_free_memory()
        before = resident()
        with resident_peak() as loading:
            weights, call = load()
            call()  # kernels pack their weights here
        release_free_memory()
        with resident_peak() as running:
            for _ in range(RUNS):
                call()
        details = {
            "load_peak": float(loading.peak - before),
            "with_code": float(with_code),
            "weights": weights,
        }
        return call, {"memory": float(max(0, running.peak - before)), "details": details}

    def _measured_dense(self, base: nn.Module | None) -> tuple[Callable[[], object], dict[str, Any]]:
        """The dense model alone. Its loader brings a tokenizer and much code: only its weights and its runs count."""
        if self.target.device == "cuda":

            def load() -> tuple[float, Callable[[], object]]:
                model, call = self._dense(base)
                return state_bytes(model), call

            return self._measured_cuda(load)
        from autocompress.measure.memory import release_free_memory, resident, resident_peak

        model, call = self._dense(base)
        weights = state_bytes(model)
        for tensor in model.state_dict().values():
            tensor.clone()  # weights may lie in a mapped file: all of it must be resident before the runs
        call()
        release_free_memory()
        before = resident()
        with resident_peak() as running:
            for _ in range(RUNS):
                call()
        return call, {"memory": weights + running.peak - before, "details": {"weights": weights}}

    def _measured_cuda(
        self, load: Callable[[], tuple[float, Callable[[], object]]]
    ) -> tuple[Callable[[], object], dict[str, Any]]:
        from autocompress.measure.memory import cuda_peak

        (weights, call), load_peak, _ = cuda_peak(load)
        _, allocated, reserved = cuda_peak(lambda: [call() for _ in range(RUNS)])
        details = {"load_peak": float(load_peak), "reserved": float(reserved), "weights": weights}
        return call, {"memory": float(allocated), "details": details}

    def _artifact(self) -> tuple[float, Callable[[], object]]:
        from autocompress.artifact.reader import load

        assert self.folder is not None
        artifact = load(self.folder, base=self.base, device=self.target.device, registry=self.registry)
        inputs = self._inputs(artifact)
        program = artifact.program_on(self.target)
        weights = state_bytes(artifact.model) if artifact.runtime.needs_torch else float(artifact.size)
        return weights, lambda: program(inputs)

    def _dense(self, base: nn.Module | None) -> tuple[nn.Module, Callable[[], object]]:
        from autocompress.core.policy import Policy

        model = base if base is not None else self._load_dense().model
        model = model.eval().to(self.target.device)
        inputs = self._inputs(None)
        program = self.registry.runtime(self.target.runtime).lower(model, Policy(), inputs, target=self.target)
        return model, lambda: program(inputs)

    def _load_dense(self) -> Any:
        if not self.knows_dense or self.origin is None:
            raise ModelError("nobody says where the dense model comes from: give it as base=...")
        loaded, _ = self.registry.load_model(
            source=self.origin.source,
            task=self.origin.task,
            trust_remote_code=self.origin.trust_remote_code,
            allow_pickle=self.origin.allow_pickle,
        )
        if loaded is None:
            remedy = f"; pip install {self.origin.loader}" if self.origin.loader else ""
            raise ModelError(f"no installed plugin loads {self.origin.source!r}, the dense model{remedy}.")
        if self.inputs is None and not self.request["inputs"] and loaded.example is not None:
            self.inputs = self._on_device(loaded.example(self.target.batch, self.target.sequence))
        return loaded

    def _inputs(self, artifact: Artifact | None) -> dict[str, Tensor]:
        """The inputs in the request; else the artifact's own; else random ones from the dense model's loader."""
        from autocompress.artifact.tensors import read_tensors

        if self.inputs is None and self.request["inputs"]:
            self.inputs = self._on_device(read_tensors(Path(self.request["inputs"])))
        if self.inputs is None and artifact is not None:
            example = artifact.example(self.target)
            self.inputs = None if example is None else self._on_device(example)
        if self.inputs is None and self.base is None and self.knows_dense:
            self._load_dense()
        if self.inputs is None:
            raise ModelError("no inputs to measure with: the artifact has none of its own; give them as inputs=...")
        return self.inputs

    def _on_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.target.device) for name, tensor in inputs.items()}

    def _unpickle(self, pipe: BinaryIO) -> nn.Module | None:
        """The module that the parent, which is the user's own process, sent over the pipe."""
        if not self.request["base"]:
            return None
        import cloudpickle
        from torch import nn

        base = cloudpickle.load(pipe)
        model = base if isinstance(base, nn.Module) else base()
        if not isinstance(model, nn.Module):
            raise ModelError(f"base gave a {type(model).__name__}: expected a torch.nn.Module.")
        return model


def _unpickle_plugins(request: Mapping[str, Any], pipe: BinaryIO) -> tuple[object, ...]:
    """The plugins that the parent, which is the user's own process, sent over the pipe."""
    if request["modules"]:
        accept(request["modules"])
    if not request["plugins"]:
        return ()
    import cloudpickle

    plugins: tuple[object, ...] = cloudpickle.load(pipe)
    return plugins


def state_bytes(model: nn.Module) -> float:
    """Bytes of the state, shared storage once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in [*model.state_dict().values(), *model.buffers()]
    }
    return float(sum(storages.values()))


def _private_stdout() -> BinaryIO:
    """Keep stdout for the answer: whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _die_with_parent(lifeline: int) -> None:
    """End when the other end of the pipe closes: a search that was killed leaves no process behind that times on."""

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Neither a thread that a plugin left behind nor a library that crashes while Python ends can spoil the answer.
    os._exit(code)
