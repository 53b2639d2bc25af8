"""`Int8Embedding`: rows in int8, rescaled as they are looked up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8Embedding(nn.Module):
    """Looks rows up in int8 and rescales them; the output is fp32.

    State: ``weight`` int8 (rows, dim), ``scale`` fp32 (rows,).
    """

    weight: Tensor
    scale: nn.Parameter

    def __init__(
        self, rows: int, dim: int, *, padding_idx: int | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = rows, dim, padding_idx
        self.register_buffer("weight", torch.empty(rows, dim, dtype=torch.int8, device=device))
        self.scale = nn.Parameter(torch.empty(rows, device=device), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        """input: (...,) integers. Returns (..., dim)."""
        return self.weight[input] * self.scale[input].unsqueeze(-1)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, padding_idx={self.padding_idx}"
