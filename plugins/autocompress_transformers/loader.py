"""From a folder or hub id to a `LoadedModel`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocompress.plugin import (
    AutocompressError,
    LoadedModel,
    ModelError,
    bounded_build,
    check_amount,
    check_numbers,
    example_inputs,
    has_pooler_option,
    has_two_towers,
    load_tokenizer,
    load_weights,
    most_modules,
    quiet,
    text_encoder,
)
from autocompress_transformers.folder import Permissions, check_code, check_dense, check_weights, read_config, shapes_of
from autocompress_transformers.hub import locate
from autocompress_transformers.tasks import Choice, choose, refined

__all__ = ["Permissions", "load"]
logger = logging.getLogger(__name__)
_CLASSIFIES = ("classification", "regression", "multi-label")


def load(source: str, task: str | None, permissions: Permissions) -> LoadedModel:
    """The model in ``source``, for ``task`` or for the task that its config tells.

    Everything that can be judged without reading weights is judged first. Raises ModelError.
    """
    folder = locate(source, permissions)
    config = read_config(folder)
    check_dense(folder, config)
    remote = check_code(folder, config, permissions)
    architectures = config.get("architectures") or []
    choice = choose(architectures, task, remote=remote)
    safetensors = check_weights(folder, permissions)
    options: dict[str, Any] = {"use_safetensors": safetensors, "weights_only": True, "trust_remote_code": remote}
    if safetensors and not remote:
        _check_size(folder, config, choice)
    model, notes = _load_model(folder, choice, options)
    tokenizer = load_tokenizer(folder, trust_remote_code=remote)
    _settle(model, tokenizer, choice.task)
    exact, told = refined(choice.task, model.config)
    takes_text = model.main_input_name == "input_ids" and not has_two_towers(model)
    return LoadedModel(
        model=model,
        source=source,
        task=exact,
        folder=folder,
        encode=text_encoder(tokenizer, model) if tokenizer is not None and takes_text else None,
        example=example_inputs(model),
        notes=(*choice.notes, *told, *notes),
        processor=tokenizer,
        classes=_classes(model, exact),
    )


def _check_size(folder: Path, config: dict[str, Any], choice: Choice) -> None:
    """Raises ModelError for a config that builds far more than the checkpoint holds, before anything is filled."""
    import torch

    where, shapes = str(folder / "config.json"), shapes_of(folder)

    def refusal(what: str) -> ModelError:
        return ModelError(f"{what}; copy the model's config.json again.")

    check_numbers(config, where, shapes, refusal=refusal)
    build = getattr(choice.model_class, "from_config", choice.model_class)
    try:
        with quiet(), torch.device("meta"), bounded_build(where, most_modules(shapes), refusal):
            model = build(_read_config(folder))
    except AutocompressError:
        raise
    except Exception as error:  # what a config makes of a model class may raise anything; the loader says it in words
        logger.debug("cannot build %s without weights", folder, exc_info=error)
        return
    check_amount(model, shapes, where, refusal)


def _load_model(folder: Path, choice: Choice, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """The model and what was left out; a bare encoder comes without the pooler that mean pooling does not use."""
    notes: list[str] = []
    if choice.task == "embedding" and not options["trust_remote_code"]:
        concrete = _concrete(folder, choice.model_class)
        if concrete is not None and has_pooler_option(concrete):
            options = {**options, "add_pooling_layer": False}
    model, report = load_weights(folder, choice.model_class, **options)
    if any("pooler" in name for name in report["unexpected_keys"]):
        notes.append("the pooler is left out: embeddings are the mean of the last hidden states")
    _check_complete(folder, choice, sorted(report["missing_keys"]))
    return model, notes


def _classes(model: Any, task: str) -> dict[str, int]:
    """Class name to id, of models whose outputs are classes."""
    if task not in ("classification", "token-classification", "image", "multi-label"):
        return {}
    return {str(name): int(identity) for name, identity in (getattr(model.config, "label2id", None) or {}).items()}


def _concrete(folder: Path, model_class: Any) -> Any | None:
    """The class that an auto class would build, or the class itself."""
    from transformers import MODEL_MAPPING

    if not hasattr(model_class, "_model_mapping"):
        return model_class
    found = MODEL_MAPPING.get(type(_read_config(folder)), None)
    return found[0] if isinstance(found, Sequence) else found


def _read_config(folder: Path) -> Any:
    """The config as Transformers reads it. Raises ModelError when it cannot."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # its own checks of a field's type are of a class that no public name covers
        cause = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot read config.json in {str(folder)!r} ({cause}): copy it again.") from error


def _check_complete(folder: Path, choice: Choice, missing: list[str]) -> None:
    """A weight that the checkpoint lacks would be random: refuse it."""
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelError(
            f"{str(folder)!r} has no weights for {', '.join(missing[:3])}{more}, which task {choice.task!r} needs: "
            "give --task the task that it was trained for, or fine-tune it first."
        )


def _settle(model: Any, tokenizer: Any | None, task: str) -> None:
    """No cache of keys and values in a single pass; a padding token where a decoder looks for a row's last token."""
    for module in model.modules():  # a decoder may have its own copy of the config
        if getattr(getattr(module, "config", None), "use_cache", False):
            module.config.use_cache = False
    config = model.config.get_text_config()
    if task in _CLASSIFIES and getattr(config, "pad_token_id", None) is None:
        end = getattr(config, "eos_token_id", None)
        known = [getattr(tokenizer, "pad_token_id", None), end[0] if isinstance(end, list) else end, 0]
        config.pad_token_id = next(identity for identity in known if identity is not None)
