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
    """Rows of text in three disjoint splits.

    groups   by split, the topic of every row where there is one.
    labels   by split, what is right for every row, as it was given: names or ids of classes, lists of them, numbers.
    notes    lines that the user is told.
    """

    calibration: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    labels: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedModel:
    """The dense model, in evaluation mode, fp32 unless its checkpoint says otherwise.

    source    what the user named, as it was typed; "" for a module that was passed in.
    task      what the model is for: ``embedding``, ``causal-lm``, ``classification``, ``seq2seq``, ``image``,
              ``other``; chooses the default evaluator.
    folder    the local folder it came from, or None.
    encode    texts and a sequence length to model inputs ``{name: (rows, ...)}``, or None for a model without text.
    example   rows and sequence to random inputs of the right shape, for tracing; or None (then data is needed).
    default_texts    data that comes with the model (the demo model), or None.
    default_tensors  the same as tensors by input name (rows, ...), or a triple of them; ``labels`` among them, if any.
    notes     lines that the user is told.
    loader    the distribution whose plugin loaded it; filled in by core.
    classes   class name to id where outputs are classes: what the labels of a data file are read by.
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
    default_tensors: Callable[[], Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]] | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
