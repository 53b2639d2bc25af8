"""`onnxruntime`: the model as an ONNX graph, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Policy, Precision, Program, Runtime, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "model.onnx"
INT8 = (Precision("int8", "row", "tensor"), Precision("int8", "row", "token"))


class OnnxRuntime(Runtime):
    """Runs the model as an ONNX graph; int8 linears become its own dynamic int8 products."""

    name: ClassVar[str] = "onnxruntime"
    requires: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript")
    needs_torch: ClassVar[bool] = False

    def key(self) -> Mapping[str, str]:
        import onnxruntime
        import torch

        return {"name": self.name, "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}

    def unavailable(self, target: Target) -> str:
        if target.device == "cpu":
            return ""
        return f"device {target.device!r} is not known to the onnxruntime runtime; use cpu"

    def lacks(self, precision: Precision, target: Target) -> str:
        return "" if precision in INT8 else super().lacks(precision, target)

    def lower(self, model: nn.Module, policy: Policy, example: Mapping[str, Tensor], *, target: Target) -> Program:  # noqa: ARG002
        import torch

        # From an example of one row a tracer takes the one for a constant.
        return _opened(model, (), {name: torch.cat([one, one]) for name, one in example.items()}, target)[0]

    def time_module(
        self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, target: Target
    ) -> Callable[[], object]:
        program, inputs = _opened(module, args, kwargs, target)
        return lambda: program(inputs)

    def save(self, program: Program, folder: Path) -> None:
        from autocompress_onnxruntime.program import OnnxProgram

        assert isinstance(program, OnnxProgram)
        (folder / FILE).write_bytes(program.path.read_bytes())

    def load(self, model: Callable[[], nn.Module], folder: Path, *, target: Target) -> Program:  # noqa: ARG002
        from autocompress_onnxruntime.program import OnnxProgram

        return OnnxProgram(folder / FILE, target)


def _opened(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], target: Target
) -> tuple[Program, dict[str, Tensor]]:
    """A module in a session of its own, and its inputs; its file lives as long as the program."""
    from tempfile import TemporaryDirectory

    from autocompress_onnxruntime.export import export
    from autocompress_onnxruntime.program import OnnxProgram

    folder = TemporaryDirectory(prefix="autocompress-onnx-")
    path = Path(folder.name) / FILE
    inputs = export(module, args, kwargs, path)
    return OnnxProgram(path, target, keep=folder), inputs
