"""Quality of models that say yes or no to every label of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, Evaluator, Run, Score, TrialError
from autocompress_transformers.distributions import logits_of
from autocompress_transformers.divergence import soft_agreement

if TYPE_CHECKING:
    from torch import Tensor


class LabelFidelity(Evaluator):
    """The mean of exp(-KL(dense || compressed) / unit) over rows and labels, every label a sigmoid of its own.

    The unit is the spread of the dense predictions of the label, at most one nat; see `divergence`. Details: ``kl``
    and ``spread`` in nats, and ``label_agreement``, the share of all decisions at one half that are the dense model's.
    """

    name: ClassVar[str] = "label-fidelity"
    metric: ClassVar[str] = "soft agreement"
    tasks: ClassVar[tuple[str, ...]] = ("multi-label",)

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:  # noqa: ARG002
        try:
            _logits(output)
        except TrialError as error:
            return str(error)
        return ""

    def reference(self, run: Run, batches: Sequence[Batch]) -> list[Tensor]:
        """The dense logits of every batch: (rows, labels)."""
        import torch

        with torch.no_grad():
            return [_logits(run(batch)) for batch in batches]

    def score(self, run: Run, batches: Sequence[Batch], reference: list[Tensor]) -> Score:
        import torch

        with torch.no_grad():
            found = torch.cat([_logits(run(batch)) for batch in batches])
        dense = torch.cat(reference)
        if found.shape != dense.shape:
            raise TrialError(f"logits {tuple(found.shape)}: expected {tuple(dense.shape)}, as the dense model's.")
        divergence = _divergence(dense, found)
        constant = dense.sigmoid().mean(dim=0).logit(eps=1e-12).expand_as(dense)
        spread = _divergence(dense, constant).mean(dim=0)
        same = (found > 0) == (dense > 0)
        near = soft_agreement(divergence, same, spread)
        details = {
            "kl": max(0.0, float(divergence.mean())),
            "spread": float(spread.mean()),
            "label_agreement": float(same.double().mean()),
        }
        return Score(float(near.mean()), details, tuple(near.mean(dim=1).tolist()))


def _logits(output: Any) -> Tensor:
    logits, spans = logits_of(output)
    if spans or logits.ndim != 2:
        raise TrialError(f"logits of shape {tuple(logits.shape)}: expected (rows, labels).")
    return logits.double()


def _divergence(dense: Tensor, found: Tensor) -> Tensor:
    """KL(dense || found) between yes and no in nats: (rows, labels)."""
    from torch.nn.functional import logsigmoid

    yes = dense.sigmoid() * (logsigmoid(dense) - logsigmoid(found))
    no = (-dense).sigmoid() * (logsigmoid(-dense) - logsigmoid(-found))
    return yes + no
