"""The distributions that a raw output predicts, one a position that is not padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autocompress.plugin import Batch, TrialError
from autocompress_transformers.embeddings import token_mask
from autocompress_transformers.outputs import finite, float_tensors

if TYPE_CHECKING:
    from torch import Tensor

FEW = 4096
"""Up to this many classes distributions are in double precision: nearly flat ones differ by less than fp32 tells."""
_PADDED = -1e4


@dataclass(frozen=True)
class Distributions:
    """Predictions at P positions.

    log_probs  (P, classes).   rows  (P,) the row of each position.
    losses     (Q,) next-token losses in nats of a language model; None for other models.
    tokens     whether positions are tokens; else each is a row, or the start or end of an answer.
    """

    log_probs: Tensor
    rows: Tensor
    losses: Tensor | None = None
    tokens: bool = False


def distributions(output: Any, batch: Batch, *, language: bool = True) -> Distributions:
    """The predicted distributions of a raw output.

    Logits (rows, classes) or (rows, tokens, classes), the latter without padding; start and end logits (rows, tokens)
    of question answering are two distributions over the tokens that are not padding. ``language``: classes are tokens.
    """
    import torch

    logits, spans = logits_of(output)
    logits = logits.double() if logits.shape[-1] <= FEW else logits
    count = logits.shape[0]
    if spans:
        mask = token_mask(batch, logits.shape[2])
        if mask is not None:
            logits = logits.masked_fill(mask.cpu().unsqueeze(1) == 0, _PADDED)
        return Distributions(logits.flatten(0, 1).log_softmax(dim=1), torch.arange(count).repeat_interleave(2))
    if logits.ndim == 2:
        return Distributions(logits.log_softmax(dim=1), torch.arange(count))
    here = positions(batch, logits.shape[:2])
    rows = torch.arange(count).unsqueeze(1).expand_as(here)[here]
    log_probs = logits.log_softmax(dim=2)
    return Distributions(log_probs[here], rows, _losses(log_probs, here, batch) if language else None, True)


def logits_of(output: Any) -> tuple[Tensor, bool]:
    """Logits on the CPU, and whether they are spans (rows, 2, tokens). Raises TrialError on any other shape."""
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


def positions(batch: Batch, shape: tuple[int, ...]) -> Tensor:
    """Which positions are not padding: (rows, tokens), bool."""
    import torch

    mask = token_mask(batch, shape[1])
    return torch.ones(shape, dtype=torch.bool) if mask is None else mask.cpu().bool()


def _losses(log_probs: Tensor, here: Tensor, batch: Batch) -> Tensor | None:
    """Next-token losses where the output predicts the input's own tokens: as many positions, ids as classes."""
    ids = batch.get("input_ids")
    if ids is None or "decoder_input_ids" in batch or ids.shape != here.shape:
        return None
    if int(ids.max()) >= log_probs.shape[2]:
        return None
    following = ids.cpu()[:, 1:].unsqueeze(-1)
    return -log_probs[:, :-1].gather(2, following).squeeze(-1)[here[:, 1:] & here[:, :-1]]
