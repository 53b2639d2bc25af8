"""Models of sound."""

from __future__ import annotations

import torch
from torch import Tensor

from .family import SIZES, TOKENS, VOCABULARY, Family, ids, noise, of_config

_WAVES = {
    **SIZES, "conv_dim": (16, 16), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "group",
    "vocab_size": VOCABULARY,
}  # fmt: skip


def _spectrogram(rows: int) -> dict[str, Tensor]:
    features = torch.randn(rows, 20, 60, generator=torch.Generator().manual_seed(rows))
    return {"input_features": features, "decoder_input_ids": ids(rows)["input_ids"]}


AUDIO: dict[str, Family] = {
    "wav2vec2": of_config("Wav2Vec2Model", "Wav2Vec2Config", noise("input_values", 400), **_WAVES),
    "hubert": of_config("HubertModel", "HubertConfig", noise("input_values", 400), **_WAVES),
    "whisper": of_config(
        "WhisperForConditionalGeneration", "WhisperConfig", _spectrogram, task="seq2seq", vocab_size=VOCABULARY,
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=20, max_source_positions=30, max_target_positions=16,
        decoder_start_token_id=3, suppress_tokens=None, begin_suppress_tokens=None, **TOKENS,
    ),
    "ast": of_config(
        "ASTForAudioClassification", "ASTConfig", noise("input_values", 32, 16), task="classification", num_labels=5,
        patch_size=4, frequency_stride=4, time_stride=4, max_length=32, num_mel_bins=16, **SIZES,
    ),
}  # fmt: skip
