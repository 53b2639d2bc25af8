"""What a model is for, from the architecture that its config names, and the Transformers class that loads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autocompress.plugin import ModelError, unknown

AUTO_CLASSES = {
    "embedding": "AutoModel",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "image": "AutoModelForImageClassification",
    "regression": "AutoModelForSequenceClassification",
    "multi-label": "AutoModelForSequenceClassification",
    "other": "AutoModel",
}
_ENDINGS = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image",
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
    "ForConditionalGeneration": "seq2seq",
    "ForMaskedLM": "embedding",
    "ForPreTraining": "embedding",
    "EncoderModel": "embedding",
    "ModelWithProjection": "embedding",
    "Model": "embedding",
}
_ONE_HEAD = {"classification", "image", "regression", "multi-label"}
"""Tasks of the same architectures: what a row of logits means is told by the config."""
_TRAINING_HEADS = ("ForMaskedLM", "ForPreTraining")


@dataclass(frozen=True)
class Choice:
    """The task and the class that loads it; ``notes`` say how both were found."""

    task: str
    model_class: Any
    notes: tuple[str, ...]


def guess(architectures: Sequence[str]) -> str:
    """The task that the first architecture is named for; ``embedding`` without one, ``other`` for any other name."""
    if not architectures:
        return "embedding"
    return next((task for ending, task in _ENDINGS.items() if architectures[0].endswith(ending)), "other")


def choose(architectures: Sequence[str], task: str | None, *, remote: bool = False) -> Choice:
    """The class for ``task``, or for the guessed task when it is None.

    The architecture's own class is taken where it is for that task: it knows exactly which weights it has. A head
    that was only there for pretraining is left out. Raises ModelError on an unknown task.
    """
    import transformers

    if task is not None and task not in AUTO_CLASSES:
        raise ModelError(unknown("task", task, AUTO_CLASSES))
    guessed = guess(architectures)
    chosen = task or guessed
    named = architectures[0] if architectures else ""
    notes = (
        [] if task else [f"task {chosen}, guessed from the config ({named or 'no architecture'}); --task changes it"]
    )
    headless = named.endswith(_TRAINING_HEADS) and chosen == "embedding"
    if headless:
        notes.append(f"{named}: loaded without its pretraining head, as an encoder")
    fits = chosen == guessed or {chosen, guessed} <= _ONE_HEAD
    own = named if fits and not headless and not remote and hasattr(transformers, named) else ""
    return Choice(chosen, getattr(transformers, own or AUTO_CLASSES[chosen]), tuple(notes))


def refined(task: str, config: Any) -> tuple[str, tuple[str, ...]]:
    """The task that a classifier's config tells more exactly (regression, multi-label), and a note where it does."""
    if task not in ("classification", "image"):
        return task, ()
    problem, outputs = getattr(config, "problem_type", None), getattr(config, "num_labels", 2)
    if problem == "multi_label_classification":
        return "multi-label", ("task multi-label, by the config: every label is a yes or no of its own",)
    if problem == "regression" or outputs == 1:
        plural = "" if outputs == 1 else "s"
        return "regression", (f"task regression, by the config: {outputs} output{plural}, a quantity and no class",)
    return task, ()
