"""Quality of classifiers, of rows or of tokens: nearness to the dense model's predictions, and accuracy on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, DataError, Evaluator, Run, Score, TrialError
from autocompress_transformers.distributions import logits_of, positions
from autocompress_transformers.divergence import row_means, soft_agreement
from autocompress_transformers.logits import Kept, compare, keep, several_classes

if TYPE_CHECKING:
    from torch import Tensor

TASKS = ("classification", "token-classification", "image")
IGNORED = -100
"""The label of a token that has none, as Transformers' losses have it."""


class ClassFidelity(Evaluator):
    """The mean of exp(-KL(dense || compressed) / unit) over rows, or over tokens that are not padding.

    The unit is the spread of the dense predictions, at most one nat: what noise does to flat predictions is seen too;
    see `divergence`. Details: ``kl`` and ``spread`` in nats, and the share of rows or tokens with the dense model's
    likeliest class: ``top1_agreement`` or ``token_agreement``.
    """

    name: ClassVar[str] = "class-fidelity"
    metric: ClassVar[str] = "soft agreement"
    tasks: ClassVar[tuple[str, ...]] = TASKS

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:  # noqa: ARG002
        return several_classes(output)

    def reference(self, run: Run, batches: Sequence[Batch]) -> list[Kept]:
        return keep(run, batches, language=False)

    def score(self, run: Run, batches: Sequence[Batch], reference: list[Kept]) -> Score:
        found = compare(run, batches, reference, language=False)
        near = soft_agreement(found.divergence, found.same, found.spread)
        what = "token_agreement" if any(dense.tokens for dense in reference) else "top1_agreement"
        rows = row_means(near, found.rows, found.count)
        return Score(float(near.mean()), {**found.details, what: found.agreement}, tuple(rows.tolist()))


@dataclass(frozen=True)
class Predicted:
    """The dense model's: what its fidelity is measured by, and the likeliest class at every labelled position."""

    kept: list[Kept]
    classes: list[Tensor]


class Accuracy(Evaluator):
    """The share of rows, or of labelled tokens, whose likeliest class is the label's.

    Labels are class ids: (rows,), or (rows, tokens) where ``-100`` and padding do not count. Details:
    ``dense_quality``, the dense model's accuracy; ``top1_agreement``, how many predictions are the dense model's.
    The smooth figure is that of class-fidelity.
    """

    name: ClassVar[str] = "accuracy"
    metric: ClassVar[str] = "accuracy"
    tasks: ClassVar[tuple[str, ...]] = TASKS
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    _fidelity: ClassVar[ClassFidelity] = ClassFidelity()

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:
        reason = self._fidelity.unsuited(output, batches)
        if reason:
            return reason
        logits, spans = logits_of(output)
        labels = batches[0]["labels"]
        places, given = tuple(logits.shape[1:-1]), tuple(labels.shape[1:])
        if spans or given != places or labels.is_floating_point():
            shape, wanted = ", ".join(map(str, ("rows", *given))), ", ".join(("rows", *("tokens" for _ in places)))
            return (
                f"labels are {str(labels.dtype).removeprefix('torch.')} ({shape}): "
                f"expected whole numbers ({wanted}), the id of a class each"
            )
        _check_ids(batches, logits.shape[-1], tokens=bool(places))
        return ""

    def reference(self, run: Run, batches: Sequence[Batch]) -> Predicted:
        outputs = _outputs(run, batches)
        kept = self._fidelity.reference(_replay(outputs), batches)
        return Predicted(kept, [_likeliest(output, batch)[0] for output, batch in zip(outputs, batches, strict=True)])

    def score(self, run: Run, batches: Sequence[Batch], reference: Predicted) -> Score:
        import torch

        outputs = _outputs(run, batches)
        near = self._fidelity.score(_replay(outputs), batches, reference.kept)
        right, dense_right, same, rows, seen = [], [], [], [], 0
        for output, batch, dense in zip(outputs, batches, reference.classes, strict=True):
            found, labels, row = _likeliest(output, batch)
            right.append(found == labels)
            dense_right.append(dense == labels)
            same.append(found == dense)
            rows.append(row + seen)
            seen += len(batch["labels"])
        value, dense_value, agreement = (float(torch.cat(hits).double().mean()) for hits in (right, dense_right, same))
        details = {"dense_quality": dense_value, "top1_agreement": agreement, "fidelity": near.value}
        per_row = row_means(torch.cat(right), torch.cat(rows), seen)
        return Score(value, details, tuple(per_row.tolist()), smooth=near.value)


def _outputs(run: Run, batches: Sequence[Batch]) -> list[Any]:
    import torch

    with torch.no_grad():
        return [run(batch) for batch in batches]


def _replay(outputs: Sequence[Any]) -> Run:
    """A model that returns these outputs, one a call."""
    following = iter(outputs)
    return lambda _batch: next(following)


def _likeliest(output: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest class, the label and the row of every labelled position: (P,) each."""
    import torch

    logits, _ = logits_of(output)
    labels = batch["labels"].cpu()
    if logits.shape[:-1] != labels.shape:
        raise TrialError(f"logits of shape {tuple(logits.shape)} for labels of shape {tuple(labels.shape)}.")
    here = labels != IGNORED
    if logits.ndim == 3:
        here = here & positions(batch, tuple(labels.shape))
    rows = torch.arange(len(labels)).reshape(-1, *(1 for _ in labels.shape[1:])).expand_as(labels)
    return logits.argmax(dim=-1)[here], labels[here], rows[here]


def _check_ids(batches: Sequence[Batch], classes: int, *, tokens: bool) -> None:
    """Raises DataError unless every label is the id of a class, and some position has one."""
    import torch

    found = torch.unique(torch.cat([batch["labels"].cpu().flatten() for batch in batches])).tolist()
    labels = [label for label in found if not (tokens and label == IGNORED)]
    bad = [label for label in labels if not 0 <= label < classes]
    if bad or not labels:
        shown = ", ".join(map(str, (bad or found)[:10]))
        raise DataError(
            f"labels hold {shown}: the model has {classes} classes, expected ids from 0 to {classes - 1}"
            + (f" (or {IGNORED} for a token without a label)." if tokens else ".")
        )
