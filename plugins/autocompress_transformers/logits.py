"""How near predicted distributions are to the dense model's, at every position that is not padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.errors import TrialError
from autocompress.evaluator import Batch, Evaluator, Run, Score
from autocompress_transformers.embeddings import token_mask
from autocompress_transformers.outputs import finite, float_tensors

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 128
"""Classes of the dense distribution that are kept; the others are summed into one. Exact up to this many classes."""
_PADDED = -1e4


@dataclass(frozen=True)
class Distributions:
    """Predictions at P positions.

    log_probs  (P, classes).   rows  (P,) the row of each position.
    losses     (Q,) next-token losses in nats of a language model; None for other models.
    """

    log_probs: Tensor
    rows: Tensor
    losses: Tensor | None


@dataclass(frozen=True)
class Kept:
    """What is kept of the dense distributions of one batch: the ``KEPT`` likeliest classes and the rest as one.

    classes    (P, k).   log_probs  (P, k), or (P, k + 1) with the rest last.
    """

    classes: Tensor
    log_probs: Tensor
    total: int
    losses: Tensor | None


class LogitsFidelity(Evaluator):
    """exp(-mean KL(dense || compressed)) over all positions that are not padding: 1 for equal predictions.

    With more than 128 classes the dense model's 128 likeliest are kept and the others count as one class, which
    bounds the divergence from below. ``per_row`` is exp(-KL) of every row: its mean is not below the value.
    Details: ``kl`` in nats, ``top1_agreement``; for a causal language model ``perplexity_dense`` and
    ``perplexity_compressed`` on the batches' own tokens.
    """

    name: ClassVar[str] = "logits-fidelity"
    metric: ClassVar[str] = "exp(-KL)"
    tasks: ClassVar[tuple[str, ...]] = (
        "causal-lm",
        "seq2seq",
        "classification",
        "token-classification",
        "question-answering",
        "image",
    )

    def reference(self, run: Run, batches: Sequence[Batch]) -> list[Kept]:
        import torch

        with torch.no_grad():
            return [_keep(distributions(run(batch), batch)) for batch in batches]

    def score(self, run: Run, batches: Sequence[Batch], reference: list[Kept]) -> Score:
        import torch

        divergences, rows, hits, losses = [], [], [], []
        seen = 0
        with torch.no_grad():
            for batch, dense in zip(batches, reference, strict=True):
                found = distributions(run(batch), batch)
                divergences.append(_divergence(dense, found))
                hits.append(found.log_probs.argmax(dim=1) == dense.classes[:, 0])
                rows.append(found.rows + seen)
                seen += int(next(iter(batch.values())).shape[0])
                if found.losses is not None:
                    losses.append(found.losses)
        divergence, row = torch.cat(divergences), torch.cat(rows)
        kl = max(0.0, float(divergence.mean()))
        details = {"kl": kl, "top1_agreement": float(torch.cat(hits).double().mean())}
        known = [dense.losses for dense in reference if dense.losses is not None]
        if known and losses:
            details |= {"perplexity_dense": _perplexity(known), "perplexity_compressed": _perplexity(losses)}
        return Score(math.exp(-kl), details, tuple(torch.exp(-_row_means(divergence, row, seen)).tolist()))


def distributions(output: Any, batch: Batch) -> Distributions:
    """The predicted distributions of a raw output.

    Logits (rows, classes) or (rows, tokens, classes), the latter without padding; start and end logits (rows, tokens)
    of question answering are two distributions over the tokens that are not padding.
    """
    import torch

    logits, spans = _logits(output)
    count = logits.shape[0]
    if spans:
        mask = token_mask(batch, logits.shape[2])
        if mask is not None:
            logits = logits.masked_fill(mask.cpu().unsqueeze(1) == 0, _PADDED)
        return Distributions(logits.flatten(0, 1).log_softmax(dim=1), torch.arange(count).repeat_interleave(2), None)
    if logits.ndim == 2:
        return Distributions(logits.log_softmax(dim=1), torch.arange(count), None)
    mask = token_mask(batch, logits.shape[1])
    here = torch.ones(logits.shape[:2], dtype=torch.bool) if mask is None else mask.cpu().bool()
    rows = torch.arange(count).unsqueeze(1).expand_as(here)[here]
    log_probs = logits.log_softmax(dim=2)
    return Distributions(log_probs[here], rows, _losses(log_probs, here, batch))


def _logits(output: Any) -> tuple[Tensor, bool]:
    """Logits on the CPU, and whether they are spans (rows, 2, tokens)."""
    import torch

    tensors = float_tensors(output)
    start, end = tensors.get("start_logits"), tensors.get("end_logits")
    if set(tensors) == {"0", "1"} and tensors["0"].shape == tensors["1"].shape and tensors["0"].ndim == 2:
        start, end = tensors["0"], tensors["1"]
    if start is not None and end is not None:
        return finite(torch.stack([start, end], dim=1)), True
    found = finite(tensors.get("logits", next(iter(tensors.values()))))
    if found.ndim not in (2, 3):
        raise TrialError(f"logits of shape {tuple(found.shape)}: expected (rows, classes) or (rows, tokens, classes).")
    return found, False


def _losses(log_probs: Tensor, here: Tensor, batch: Batch) -> Tensor | None:
    """Next-token losses where the output predicts the input's own tokens: as many positions, ids as classes."""
    ids = batch.get("input_ids")
    if ids is None or "decoder_input_ids" in batch or ids.shape != here.shape:
        return None
    if int(ids.max()) >= log_probs.shape[2]:
        return None
    following = ids.cpu()[:, 1:].unsqueeze(-1)
    return -log_probs[:, :-1].gather(2, following).squeeze(-1)[here[:, 1:] & here[:, :-1]]


def _keep(found: Distributions) -> Kept:
    import torch

    total = found.log_probs.shape[1]
    kept, classes = found.log_probs.topk(min(KEPT, total), dim=1)
    return Kept(classes, torch.cat([kept, _rest(kept)], dim=1) if total > KEPT else kept, total, found.losses)


def _rest(kept: Tensor) -> Tensor:
    """The log of the probability that the kept classes leave over: (P, 1)."""
    return (1.0 - kept.double().exp().sum(dim=1, keepdim=True)).clamp(min=1e-12).log().to(kept.dtype)


def _divergence(dense: Kept, found: Distributions) -> Tensor:
    """KL(dense || found) in nats at every position: (P,), in double precision."""
    import torch

    if found.log_probs.shape != (len(dense.classes), dense.total):
        raise TrialError(
            f"{found.log_probs.shape[0]} positions with {found.log_probs.shape[1]} classes: expected "
            f"{len(dense.classes)} with {dense.total}, as the dense model's."
        )
    log_q = found.log_probs.gather(1, dense.classes)
    if dense.total > KEPT:
        log_q = torch.cat([log_q, _rest(log_q)], dim=1)
    log_p = dense.log_probs.double()
    return (log_p.exp() * (log_p - log_q.double())).sum(dim=1)


def _row_means(values: Tensor, rows: Tensor, count: int) -> Tensor:
    import torch

    sums = torch.zeros(count, dtype=values.dtype).index_add_(0, rows, values)
    sizes = torch.zeros(count, dtype=values.dtype).index_add_(0, rows, torch.ones_like(values))
    return (sums / sizes.clamp(min=1.0)).clamp(min=0.0)


def _perplexity(losses: Sequence[Tensor]) -> float:
    """exp of the mean loss; infinity where that is beyond a float."""
    import torch

    mean = float(torch.cat(list(losses)).double().mean())
    return math.exp(mean) if mean < 700 else math.inf
