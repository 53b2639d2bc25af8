"""The contract of a runtime: it turns a compressed model into what is deployed, timed and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from autocompress.core.policy import Policy
from autocompress.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor, nn


class Program(Protocol):
    """A lowered model: call it with inputs by name."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> Any: ...


class Runtime(ABC):
    """Lowers a compressed torch model for one target, with the runtime's own kernels.

    name          unique among all installed plugins.
    requires      libraries that must be importable.
    builds_fast   whether lowering is cheap enough to be done for every trial.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    builds_fast: ClassVar[bool] = True

    @abstractmethod
    def unavailable(self, target: Target) -> str:
        """Why this runtime cannot run on the target, or "" when it can."""

    @abstractmethod
    def lower(self, model: nn.Module, policy: Policy, example: Mapping[str, Tensor]) -> Program:
        """What is timed and scored. The model is not copied and must not be changed while the program is used."""

    @abstractmethod
    def save(self, program: Program, folder: Path) -> None:
        """Write what the runtime needs beside the model's own weights (nothing for an eager runtime)."""

    @abstractmethod
    def load(self, model: nn.Module, folder: Path) -> Program:
        """The program of a reloaded artifact: ``model`` is rebuilt from its weights, ``folder`` is the artifact."""
