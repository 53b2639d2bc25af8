"""Weights from a local folder into a frozen fp32 model; shared by the plugins that load pretrained models."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autocompress.errors import ModelError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
)
_log = logging.getLogger(__name__)


def load_weights(folder: Path, model_class: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model in evaluation mode, fp32 and without gradients, and Transformers' report of the loaded keys.

    ``model_class`` is a Transformers model or auto class; ``options`` go to its ``from_pretrained``. A pooling layer
    on top of a bare encoder can be left out with ``add_pooling_layer=False`` where the class has that option.
    Raises ModelError when the weights do not fit the config.
    """
    import torch

    try:
        with quiet():
            model, report = model_class.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, **options
            )
    except Exception as error:  # model code, often remote, may raise anything
        raise ModelError(
            f"cannot load {str(folder)!r} ({_one_line(error)}): expected weights that fit config.json; "
            "check that the folder is complete."
        ) from error
    model.eval().requires_grad_(False)
    return model, report


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any | None:
    """The tokenizer of a folder, or None when the folder has none. Raises ModelError on damaged files."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # the Rust tokenizers raise a bare Exception for a damaged file
        raise ModelError(
            f"cannot read the tokenizer in {str(folder)!r} ({_one_line(error)}): expected complete tokenizer files; "
            "copy them again or remove them and give tensors as data."
        ) from error


def has_pooler_option(model_class: Any) -> bool:
    """Whether the class can be built without the pooling layer on top of its encoder."""
    return "add_pooling_layer" in inspect.signature(model_class.__init__).parameters


@contextmanager
def quiet() -> Iterator[None]:
    """Transformers without its progress bar and load report; ours are the notes that the user is told."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


def _one_line(error: BaseException) -> str:
    _log.debug("while loading", exc_info=error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
