"""`torch`: the model as it is, run eagerly; its compressed modules bring their own kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Policy, Precision, Program, Runtime, Target

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class EagerProgram:
    """Calls the model with inputs by name, without gradients."""

    model: nn.Module

    def __call__(self, inputs: Mapping[str, Tensor]) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(**inputs)


class TorchRuntime(Runtime):
    """Runs the module in evaluation mode on the target's device; lowering costs nothing."""

    name: ClassVar[str] = "torch"

    def unavailable(self, target: Target) -> str:
        if target.device == "cpu":
            return ""
        if target.device == "cuda":
            import torch

            return "" if torch.cuda.is_available() else "this torch sees no CUDA device; use --device cpu"
        return f"device {target.device!r} is not known to the torch runtime; use cpu or cuda"

    def key(self) -> Mapping[str, str]:
        import torch

        return {"name": self.name, "torch": torch.__version__}

    def lacks(self, precision: Precision, target: Target) -> str:  # noqa: ARG002
        """Nothing: modules run as they are, and their techniques offer them where torch has the kernel."""
        return ""

    def lower(
        self,
        model: nn.Module,
        policy: Policy,  # noqa: ARG002
        example: Mapping[str, Tensor],  # noqa: ARG002
        *,
        target: Target,  # noqa: ARG002
    ) -> Program:
        return EagerProgram(model.eval())

    def save(self, program: Program, folder: Path) -> None:
        """Nothing: the model's own weights are all that this runtime needs."""

    def load(self, model: Callable[[], nn.Module], folder: Path, *, target: Target) -> Program:  # noqa: ARG002
        return EagerProgram(model().eval())
