"""Pretrained models from a Hugging Face folder or hub id, and evaluators that compare with the dense model."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Evaluator, LoadedModel, hookimpl


@hookimpl(trylast=True)
def autocompress_load_model(
    source: str, task: str | None, trust_remote_code: bool, allow_pickle: bool
) -> LoadedModel | None:
    """Any folder or hub id that no other plugin claims."""
    from autocompress_transformers.loader import Permissions, load

    return load(source, task, Permissions(trust_remote_code=trust_remote_code, allow_pickle=allow_pickle))


@hookimpl
def autocompress_evaluators() -> Iterable[Evaluator]:
    """Accuracy on labels; fidelity to the dense model: of embeddings, distributions, quantities, of any output."""
    from autocompress_transformers.classes import Accuracy, ClassFidelity
    from autocompress_transformers.embeddings import EmbeddingFidelity
    from autocompress_transformers.logits import LogitsFidelity
    from autocompress_transformers.multilabel import LabelFidelity
    from autocompress_transformers.outputs import OutputFidelity
    from autocompress_transformers.values import ValueFidelity

    return [
        Accuracy(),
        ClassFidelity(),
        EmbeddingFidelity(),
        LabelFidelity(),
        LogitsFidelity(),
        OutputFidelity(),
        ValueFidelity(),
    ]
