"""What a loader hands to the search: the dense model and how to feed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Texts:
    """Rows of text in three disjoint splits; ``groups`` labels the topic of every row where there is one."""

    calibration: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class LoadedModel:
    """The dense model, in evaluation mode, fp32 unless its checkpoint says otherwise.

    source    what the user named; "" for a module that was passed in.
    task      what the model is for: ``embedding``, ``causal-lm``, ``classification``, ``seq2seq``, ``image``,
              ``other``; chooses the default evaluator.
    folder    the local folder it came from, or None.
    encode    texts and a sequence length to model inputs ``{name: (rows, ...)}``, or None for a model without text.
    example   rows and sequence to random inputs of the right shape, for tracing; or None (then data is needed).
    default_texts   data that comes with the model (the demo model), or None.
    notes     lines that the user is told.
    loader    the distribution whose plugin loaded it; filled in by core.
    """

    model: nn.Module
    source: str
    task: str
    folder: Path | None = None
    encode: Callable[[Sequence[str], int], dict[str, Tensor]] | None = None
    example: Callable[[int, int], dict[str, Tensor]] | None = None
    default_texts: Callable[[], Texts] | None = None
    notes: tuple[str, ...] = ()
    processor: Any = None
    loader: str = ""
