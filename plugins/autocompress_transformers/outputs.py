"""Model outputs as tensors, and how near any output is to the dense model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, Evaluator, Run, Score, TrialError

if TYPE_CHECKING:
    from torch import Tensor


def float_tensors(output: Any) -> dict[str, Tensor]:
    """The floating-point tensors of a raw output by name, or by position for tuples.

    Where the outermost level has none, those of the level below it, under names such as ``0.hidden``.
    """
    from autocompress.plugin import float_tensors as found_in

    found = found_in(output)
    if not found:
        raise TrialError(
            f"the model returned {type(output).__name__} without a floating-point tensor: nothing can be compared "
            "with the dense model."
        )
    return found


def finite(values: Tensor) -> Tensor:
    """``values`` on the CPU in fp32. Raises TrialError when one is NaN or infinite."""
    import torch

    values = values.detach().to("cpu", torch.float32)
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise TrialError(f"the outputs hold {bad} NaN or infinite values of {values.numel()}.")
    return values


def row_cosines(values: Tensor, reference: Tensor) -> Tensor:
    """The cosine of every row with its reference row: (rows,), in double precision. Equal rows have exactly 1."""
    import torch

    if values.shape != reference.shape:
        raise TrialError(
            f"outputs of shape {tuple(values.shape)}: expected {tuple(reference.shape)}, as the dense model's."
        )
    a, b = values.flatten(1).double(), reference.flatten(1).double()
    cosines = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1.0, 1.0)
    return torch.where((a == b).all(dim=1), torch.ones_like(cosines), cosines)


class OutputFidelity(Evaluator):
    """Mean cosine of the flattened first output with the dense model's, row by row; for any model."""

    name: ClassVar[str] = "output-fidelity"
    metric: ClassVar[str] = "mean cosine"
    tasks: ClassVar[tuple[str, ...]] = ("other",)

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:  # noqa: ARG002
        try:
            columns = _first(output).flatten(1).shape[1]
        except (TrialError, IndexError) as error:
            return str(error)
        return "" if columns > 1 else "there is one output a row, and its cosine is only a sign"

    def reference(self, run: Run, batches: Sequence[Batch]) -> list[Tensor]:
        """The first output of every batch: (rows, ...)."""
        import torch

        with torch.no_grad():
            return [_first(run(batch)) for batch in batches]

    def score(self, run: Run, batches: Sequence[Batch], reference: list[Tensor]) -> Score:
        import torch

        with torch.no_grad():
            pairs = zip(batches, reference, strict=True)
            cosines = torch.cat([row_cosines(_first(run(batch)), dense) for batch, dense in pairs])
        return Score(
            value=float(cosines.mean()),
            details={"p5_cosine": float(cosines.quantile(0.05))},
            per_row=tuple(cosines.tolist()),
        )


def _first(output: Any) -> Tensor:
    return finite(next(iter(float_tensors(output).values())))
