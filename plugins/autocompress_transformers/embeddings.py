"""How near embeddings are to the dense model's, and whether they still find their own kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.plugin import Batch, Evaluator, Run, Score, TrialError
from autocompress_transformers.outputs import finite, float_tensors, row_cosines

if TYPE_CHECKING:
    from torch import Tensor


class EmbeddingFidelity(Evaluator):
    """Mean cosine of every row's embedding with the dense model's.

    Details: ``p5_cosine``, the 5th percentile; where the batches carry ``group``, ``retrieval_dense`` and
    ``retrieval_compressed``: the share of rows whose nearest other row (cosine) is of the same group, among rows
    whose group has another row.
    """

    name: ClassVar[str] = "embedding-fidelity"
    metric: ClassVar[str] = "mean cosine"
    tasks: ClassVar[tuple[str, ...]] = ("embedding",)
    reads: ClassVar[tuple[str, ...]] = ("group",)

    def reference(self, run: Run, batches: Sequence[Batch]) -> Tensor:
        """The dense embeddings of all rows: (rows, width)."""
        return _embed(run, batches)

    def score(self, run: Run, batches: Sequence[Batch], reference: Tensor) -> Score:
        import torch

        found = _embed(run, batches)
        cosines = row_cosines(found, reference)
        details = {"p5_cosine": float(cosines.quantile(0.05))}
        if all("group" in batch for batch in batches):
            groups = torch.cat([batch["group"].cpu() for batch in batches])
            dense, compressed = retrieval(reference, groups), retrieval(found, groups)
            if dense is not None and compressed is not None:
                details |= {"retrieval_dense": dense, "retrieval_compressed": compressed}
        return Score(value=float(cosines.mean()), details=details, per_row=tuple(cosines.tolist()))


def pooled(output: Any, batch: Batch) -> Tensor:
    """One embedding a row: (rows, width).

    The model's own embeddings (``text_embeds``, ``image_embeds``, side by side at unit length) where it gives them;
    else the mean of the last hidden states over tokens that are not padding, or over all patches of an image.
    """
    import torch

    tensors = float_tensors(output)
    own = [
        tensors[name]
        for name in ("text_embeds", "image_embeds", "audio_embeds", "sentence_embedding")
        if name in tensors
    ]
    if own:
        return torch.cat([torch.nn.functional.normalize(one.flatten(1), dim=1) for one in own], dim=1)
    hidden = tensors.get("last_hidden_state", next(iter(tensors.values())))
    if hidden.ndim == 2:
        return hidden
    if hidden.ndim == 4:  # a convolutional encoder: (rows, channels, height, width)
        return hidden.mean(dim=(2, 3))
    if hidden.ndim != 3:
        raise TrialError(f"hidden states of shape {tuple(hidden.shape)}: expected (rows, tokens, width).")
    mask = token_mask(batch, hidden.shape[1])
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask.to(hidden.device, hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def token_mask(batch: Batch, tokens: int) -> Tensor | None:
    """The mask (rows, tokens) of what is not padding on the output side, or None where there is none."""
    for name in ("decoder_attention_mask", "attention_mask"):
        if name in batch and tuple(batch[name].shape[1:]) == (tokens,):
            return batch[name]
    return None


def retrieval(embeddings: Tensor, groups: Tensor) -> float | None:
    """The share of rows whose nearest other row is of the same group; None when no group has two rows."""
    import torch

    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    similar = unit @ unit.T
    similar.fill_diagonal_(-2.0)
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    askable = counts[inverse] > 1
    if not bool(askable.any()):
        return None
    hits = groups[similar.argmax(dim=1)] == groups
    return float(hits[askable].double().mean())


def _embed(run: Run, batches: Sequence[Batch]) -> Tensor:
    import torch

    with torch.no_grad():
        return torch.cat([finite(pooled(run(batch), batch)) for batch in batches])
