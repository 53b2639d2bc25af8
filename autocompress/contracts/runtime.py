"""The contract of a runtime: it turns a compressed model into what is deployed, timed and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from autocompress.contracts.precision import Precision
from autocompress.core.policy import Policy
from autocompress.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor, nn


class Program(Protocol):
    """A lowered model: call it with inputs by name; other rows and lengths than the example's are as good.

    It answers with what the model answers with: a tensor, or tensors in tuples, mappings or objects under the same
    names (`float_tensors` finds them). A ``close()``, if it has one, frees what it holds; it is not called after that.
    """

    def __call__(self, inputs: Mapping[str, Tensor]) -> Any: ...


class Runtime(ABC):
    """Lowers a compressed torch model for one target, with the runtime's own kernels.

    name          unique among all installed plugins.
    requires      libraries that must be importable.
    needs_torch   whether `load` calls the function that gives the torch module; if not, an artifact loads without it.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    needs_torch: ClassVar[bool] = True

    def key(self) -> Mapping[str, str]:
        """What its figures depend on besides the target: the versions of its libraries, its options.

        Nothing that was measured under another key is used again.
        """
        return {"name": self.name}

    @abstractmethod
    def unavailable(self, target: Target) -> str:
        """Why this runtime cannot run on the target, or "" when it can."""

    def lacks(self, precision: Precision, target: Target) -> str:
        """Why no real kernel of this runtime runs a precision on the target, or "" when one does.

        Then `lower` puts that kernel in the place of every `Quantized` module of this precision.
        """
        return f"runtime {self.name!r} has no kernel for {precision} on {target.device}"

    @abstractmethod
    def lower(self, model: nn.Module, policy: Policy, example: Mapping[str, Tensor], *, target: Target) -> Program:
        """What is timed and scored. The model is not copied and must not be changed while the program is used."""

    def time_module(
        self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, target: Target
    ) -> Callable[[], object] | None:
        """What runs one module alone on this call in the runtime's own kernels: options are priced by timing it.

        It is kept while the module is changed again. None where calling the module itself is what the runtime does.
        """
        del module, args, kwargs, target
        return None

    @abstractmethod
    def save(self, program: Program, folder: Path) -> None:
        """Write what the runtime needs beside the model's own weights (nothing for an eager runtime)."""

    @abstractmethod
    def load(self, model: Callable[[], nn.Module], folder: Path, *, target: Target) -> Program:
        """The program of a reloaded artifact: ``folder`` is the artifact, ``model`` gives the module with its weights.

        It calls ``model`` if it says that it needs it.
        """


@contextmanager
def closing(program: Program) -> Iterator[Program]:
    """At the end of the block what the program holds beyond its model is freed, if it says that it holds anything."""
    try:
        yield program
    finally:
        if hasattr(program, "close"):
            program.close()
