"""Models of images."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import SIZES, VOCABULARY, Family, ids, noise, of_config

_PIXELS = noise("pixel_values", 3, 16, 16)
_PATCHES = {"image_size": 16, "patch_size": 4, **SIZES}


def _image(model: str, config: str, pixels: object = _PIXELS, **sizes: object) -> Family:
    return of_config(f"{model}ForImageClassification", f"{config}Config", pixels, task="image", num_labels=5, **sizes)


def _both(rows: int) -> dict[str, Tensor]:
    return {**ids(rows), **_PIXELS(rows)}


def _clip() -> Family:
    text = {"vocab_size": VOCABULARY, "max_position_embeddings": 16, "eos_token_id": 2, **SIZES}
    return of_config(
        "CLIPModel", "CLIPConfig", _both, task="other", text_config=text, vision_config=_PATCHES, projection_dim=16
    )


def _bytes(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return {"pixel_values": torch.randn(rows, 3, 64, 64, generator=generator)}


VISION: dict[str, Family] = {
    "deit": _image("DeiT", "DeiT", **_PATCHES),
    "beit": _image("Beit", "Beit", **_PATCHES, use_relative_position_bias=True),
    "dinov2": _image("Dinov2", "Dinov2", image_size=16, patch_size=4, hidden_size=32, num_hidden_layers=2,
                     num_attention_heads=4, mlp_ratio=2),
    "swin": _image("Swin", "Swin", image_size=16, patch_size=2, embed_dim=16, depths=[2, 1], num_heads=[2, 4],
                   window_size=2),
    "swinv2": _image("Swinv2", "Swinv2", image_size=16, patch_size=2, embed_dim=16, depths=[2, 1], num_heads=[2, 4],
                     window_size=2),
    "siglip": _image("Siglip", "Siglip", vision_config=_PATCHES),
    "clip": _clip(),
    "clip-vision": of_config("CLIPVisionModel", "CLIPVisionConfig", _PIXELS, **_PATCHES),
    "convnext": _image("ConvNext", "ConvNext", _bytes, hidden_sizes=[16, 32], depths=[1, 1], num_stages=2),
    "resnet": _image("ResNet", "ResNet", _bytes, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1],
                     layer_type="basic"),
    "segformer": _image("Segformer", "Segformer", _bytes, num_encoder_blocks=2, depths=[1, 1], hidden_sizes=[16, 32],
                        num_attention_heads=[2, 4], sr_ratios=[2, 1], patch_sizes=[7, 3], strides=[4, 2],
                        mlp_ratios=[2, 2], decoder_hidden_size=16),
}  # fmt: skip
