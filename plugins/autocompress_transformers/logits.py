"""How near predicted distributions are to the dense model's, at every position that is not padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, Evaluator, Run, Score, TrialError
from autocompress_transformers.distributions import Distributions, distributions, logits_of
from autocompress_transformers.divergence import row_means, unit

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 128
"""Classes of the dense distribution that are kept; the others are summed into one. Exact up to this many classes."""


@dataclass(frozen=True)
class Kept:
    """What is kept of the dense distributions of one batch: the ``KEPT`` likeliest classes and the rest as one.

    classes    (P, k).   log_probs  (P, k), or (P, k + 1) with the rest last.   total: how many classes there are.
    sums       (total,) probabilities of every class, summed over the positions.   tokens: positions are tokens.
    """

    classes: Tensor
    log_probs: Tensor
    total: int
    sums: Tensor
    losses: Tensor | None
    tokens: bool


@dataclass(frozen=True)
class Compared:
    """Predictions beside the dense model's, at P positions of ``count`` rows.

    divergence  (P,) KL(dense || compressed) in nats.   same  (P,) whether the likeliest class is the same.
    rows        (P,) the row of each position.   spread: of the dense predictions, in nats.
    """

    divergence: Tensor
    same: Tensor
    rows: Tensor
    count: int
    spread: float
    losses: list[Tensor]

    @property
    def details(self) -> dict[str, float]:
        return {"kl": max(0.0, float(self.divergence.mean())), "spread": self.spread}

    @property
    def agreement(self) -> float:
        """The share of positions whose likeliest class is the dense model's."""
        return float(self.same.double().mean())


class LogitsFidelity(Evaluator):
    """exp(-mean KL(dense || compressed)) over all positions that are not padding: 1 for equal predictions.

    The divergence is in nats, or in units of the spread of the dense predictions where that is below one nat; see
    `divergence`. With more than 128 classes the dense model's 128 likeliest are kept and the others count as one
    class, which bounds the divergence from below. ``per_row`` is the same of every row: its mean is not below the
    value. Details: ``kl`` and ``spread`` in nats, ``top1_agreement``; for a causal language model
    ``perplexity_dense`` and ``perplexity_compressed`` on the batches' own tokens.
    """

    name: ClassVar[str] = "logits-fidelity"
    metric: ClassVar[str] = "exp(-KL)"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm", "seq2seq", "question-answering")

    def unsuited(self, output: Any, batches: Sequence[Batch]) -> str:  # noqa: ARG002
        return several_classes(output)

    def reference(self, run: Run, batches: Sequence[Batch]) -> list[Kept]:
        return keep(run, batches, language=True)

    def score(self, run: Run, batches: Sequence[Batch], reference: list[Kept]) -> Score:
        import torch

        found = compare(run, batches, reference, language=True)
        nats = unit(found.spread, len(found.divergence))
        details = {**found.details, "top1_agreement": found.agreement}
        known = [dense.losses for dense in reference if dense.losses is not None]
        if known and found.losses:
            details |= {"perplexity_dense": _perplexity(known), "perplexity_compressed": _perplexity(found.losses)}
        rows = row_means(found.divergence, found.rows, found.count).clamp(min=0.0)
        return Score(math.exp(-details["kl"] / nats), details, tuple(torch.exp(-rows / nats).tolist()))


def several_classes(output: Any) -> str:
    """Why an output holds no distributions to compare, or ""."""
    try:
        classes = logits_of(output)[0].shape[-1]
    except TrialError as error:
        return str(error)
    return "" if classes > 1 else "there is one output, and a distribution over one class is always 1"


def keep(run: Run, batches: Sequence[Batch], *, language: bool) -> list[Kept]:
    """What is kept of the dense predictions. ``language``: classes are tokens, so there may be losses."""
    import torch

    with torch.no_grad():
        return [_keep(distributions(run(batch), batch, language=language)) for batch in batches]


def compare(run: Run, batches: Sequence[Batch], reference: Sequence[Kept], *, language: bool) -> Compared:
    """Predictions beside the dense model's. Raises TrialError when they are of another shape, or no numbers."""
    import torch

    divergences, rows, same, losses, seen = [], [], [], [], 0
    with torch.no_grad():
        for batch, dense in zip(batches, reference, strict=True):
            found = distributions(run(batch), batch, language=language)
            divergences.append(_divergence(dense, found.log_probs))
            same.append(found.log_probs.argmax(dim=1) == dense.classes[:, 0])
            rows.append(found.rows + seen)
            seen += int(next(iter(batch.values())).shape[0])
            losses += [] if found.losses is None else [found.losses]
    return Compared(torch.cat(divergences), torch.cat(same), torch.cat(rows), seen, _spread(reference), losses)


def _keep(found: Distributions) -> Kept:
    import torch

    total = found.log_probs.shape[1]
    kept, classes = found.log_probs.topk(min(KEPT, total), dim=1)
    sums = found.log_probs.exp().sum(dim=0, dtype=torch.float64)
    log_probs = torch.cat([kept, _rest(kept)], dim=1) if total > KEPT else kept
    return Kept(classes, log_probs, total, sums, found.losses, found.tokens)


def _rest(kept: Tensor) -> Tensor:
    """The log of the probability that the kept classes leave over: (P, 1)."""
    return (1.0 - kept.double().exp().sum(dim=1, keepdim=True)).clamp(min=1e-12).log().to(kept.dtype)


def _divergence(dense: Kept, log_probs: Tensor) -> Tensor:
    """KL(dense || log_probs) in nats at every position: (P,), in double precision. log_probs: (P, classes)."""
    import torch

    if log_probs.shape != (len(dense.classes), dense.total):
        raise TrialError(
            f"{log_probs.shape[0]} positions with {log_probs.shape[1]} classes: expected "
            f"{len(dense.classes)} with {dense.total}, as the dense model's."
        )
    log_q = log_probs.gather(1, dense.classes)
    if dense.total > KEPT:
        log_q = torch.cat([log_q, _rest(log_q)], dim=1)
    log_p = dense.log_probs.double()
    return (log_p.exp() * (log_p - log_q.double())).sum(dim=1)


def _spread(reference: Sequence[Kept]) -> float:
    """The mean divergence of the best constant prediction from the dense ones, in nats."""
    import torch

    if len({dense.total for dense in reference}) > 1:
        return 1.0  # positions of sequences of several lengths: there is no constant prediction
    mean = torch.stack([dense.sums for dense in reference]).sum(dim=0)
    log_mean = (mean / mean.sum()).clamp(min=1e-300).log()
    parts = [_divergence(dense, log_mean.expand(len(dense.classes), -1)) for dense in reference]
    return max(0.0, float(torch.cat(parts).mean()))


def _perplexity(losses: Sequence[Tensor]) -> float:
    """exp of the mean loss; infinity where that is beyond a float."""
    import torch

    mean = float(torch.cat(list(losses)).double().mean())
    return math.exp(mean) if mean < 700 else math.inf
