"""Encoder-decoders over text."""

from __future__ import annotations

from .family import TOKENS, VOCABULARY, Family, of_config, pairs

_BART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64, **TOKENS,
    "decoder_start_token_id": 2,
}  # fmt: skip

ENCODER_DECODERS: dict[str, Family] = {
    "bart": of_config("BartForConditionalGeneration", "BartConfig", pairs, task="seq2seq", **_BART),
    "mbart": of_config("MBartForConditionalGeneration", "MBartConfig", pairs, task="seq2seq", **_BART),
    "marian": of_config("MarianMTModel", "MarianConfig", pairs, task="seq2seq", **_BART),
    "t5-gated": of_config(
        "T5ForConditionalGeneration", "T5Config", pairs, task="seq2seq", vocab_size=VOCABULARY, d_model=32, d_kv=8,
        num_layers=2, num_heads=4, d_ff=64, feed_forward_proj="gated-gelu", **TOKENS, decoder_start_token_id=0,
    ),
    "switch-transformers": of_config(
        "SwitchTransformersForConditionalGeneration", "SwitchTransformersConfig", pairs, task="seq2seq",
        vocab_size=VOCABULARY, d_model=32, d_kv=8, num_layers=2, num_heads=4, d_ff=64, num_experts=4,
        num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_decoder_layers=2, **TOKENS,
        decoder_start_token_id=0,
    ),
}  # fmt: skip
