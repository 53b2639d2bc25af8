"""Model inputs from texts or from nothing: what a pretrained model takes is read from its config and signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[[Sequence[str], int], dict[str, "Tensor"]]
Example = Callable[[int, int], dict[str, "Tensor"]]


def text_encoder(tokenizer: Any, model: Any) -> Encode:
    """A function from texts and a sequence length to the inputs of ``model``, all of shape (rows, sequence).

    Texts are cut and padded to the length. A tokenizer without a padding token pads with its end-of-text token, which
    the attention mask hides. An encoder-decoder is also given ``decoder_input_ids``: the text, shifted right.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    accepted = _accepted(model) - (set() if _has_token_types(model) else {"token_type_ids"})

    def encode(texts: Sequence[str], sequence: int) -> dict[str, Tensor]:
        _check_length(sequence, _longest(tokenizer, model))
        found = tokenizer(list(texts), padding="max_length", truncation=True, max_length=sequence, return_tensors="pt")
        inputs = {name: value for name, value in found.items() if name in accepted}
        return {**inputs, **_decoder_inputs(model, inputs["input_ids"], found["attention_mask"])}

    return encode


def example_inputs(model: Any) -> Example | None:
    """A function from rows and a sequence length to random, repeatable inputs; None when the kind is not known.

    Text gives ``input_ids`` (rows, sequence) without special tokens and an attention mask of ones; images give
    ``pixel_values`` (rows, channels, height, width); a model with both towers is given both.
    """
    towers = ("input_ids", "pixel_values") if has_two_towers(model) else (model.main_input_name,)
    if not set(towers) <= {"input_ids", "pixel_values"}:
        return None

    def example(rows: int, sequence: int) -> dict[str, Tensor]:
        import torch

        generator = torch.Generator().manual_seed(0)
        inputs: dict[str, Tensor] = {}
        if "input_ids" in towers:
            _check_length(sequence, _positions(model))
            inputs |= _example_text(model, rows, sequence, generator)
        if "pixel_values" in towers:
            inputs["pixel_values"] = torch.randn(rows, *_image_shape(model.config), generator=generator)
        return inputs

    return example


def has_two_towers(model: Any) -> bool:
    """Whether the model takes texts and images side by side."""
    return hasattr(model.config, "vision_config") and hasattr(model.config, "text_config")


def _accepted(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)


def _has_token_types(model: Any) -> bool:
    """Whether there are embeddings for them; some decoders take the argument and add the embedding of a word."""
    types = getattr(model.config.get_text_config(), "type_vocab_size", 0)
    return types > 1 and "token_type_ids" in _accepted(model)


def _example_text(model: Any, rows: int, sequence: int, generator: Any) -> dict[str, Tensor]:
    import torch

    config = model.config.get_text_config()
    special = [getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "decoder_start")]
    ordinary = torch.ones(config.vocab_size, dtype=torch.bool)
    for identity in special:
        for one in identity if isinstance(identity, list) else [identity]:
            if one is not None and 0 <= one < config.vocab_size:
                ordinary[one] = False
    words = ordinary.nonzero().flatten()
    ids = words[torch.randint(len(words), (rows, sequence), generator=generator)]
    mask = torch.ones_like(ids)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if _has_token_types(model):
        inputs["token_type_ids"] = torch.zeros_like(ids)
    inputs |= _decoder_inputs(model, ids, mask)
    accepted = _accepted(model)
    return {name: value for name, value in inputs.items() if name in accepted}


def _decoder_inputs(model: Any, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The text shifted right behind the start token, for models that need it; else nothing."""
    import torch

    if not (getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in _accepted(model)):
        return {}
    config = model.config
    known = [getattr(config, name, None) for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id")]
    start = next((identity for identity in known if identity is not None), 0)
    first = torch.full_like(ids[:, :1], start)
    return {
        "decoder_input_ids": torch.cat([first, ids[:, :-1]], dim=1),
        "decoder_attention_mask": torch.cat([torch.ones_like(mask[:, :1]), mask[:, :-1]], dim=1),
    }


def _image_shape(config: Any) -> tuple[int, int, int]:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return int(getattr(vision, "num_channels", 3)), int(height), int(width)


def _positions(model: Any) -> int | None:
    """How many positions the model has, or None where they are relative and so without an end."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(found) if found else None


def _longest(tokenizer: Any, model: Any) -> int | None:
    """The longest sequence that both allow; a tokenizer without a limit says so by a huge number."""
    limits = [limit for limit in (_positions(model), tokenizer.model_max_length) if limit and limit < 10**9]
    return int(min(limits)) if limits else None


def _check_length(sequence: int, longest: int | None) -> None:
    if sequence < 1:
        raise ModelError(f"sequence length {sequence}: expected 1 or more tokens; give --sequence 128, for example.")
    if longest is not None and sequence > longest:
        raise ModelError(
            f"sequence length {sequence} is longer than the {longest} positions of the model; "
            f"give --sequence {longest} or less."
        )
