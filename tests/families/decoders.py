"""Decoders, dense and with experts."""

from __future__ import annotations

from .family import SIZES, TOKENS, VOCABULARY, Family, ids, of_config

_TEXT = {"vocab_size": VOCABULARY, "max_position_embeddings": 64, **SIZES, **TOKENS}
_GPT = {"vocab_size": VOCABULARY, **TOKENS}


def _lm(model: str, config: str, **sizes: object) -> Family:
    return of_config(f"{model}ForCausalLM", f"{config}Config", ids, task="causal-lm", **sizes)


DECODERS: dict[str, Family] = {
    "falcon": _lm("Falcon", "Falcon", **_GPT, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "falcon-new": _lm(
        "Falcon", "Falcon", **_GPT, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
        new_decoder_architecture=True,
    ),
    "opt": _lm(
        "OPT", "OPT", **_GPT, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64,
        max_position_embeddings=64, word_embed_proj_dim=32,
    ),
    "bloom": _lm("Bloom", "Bloom", **_GPT, hidden_size=32, n_layer=2, n_head=4),
    "gpt-neox": _lm("GPTNeoX", "GPTNeoX", **_TEXT),
    "gptj": _lm("GPTJ", "GPTJ", **_GPT, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=64),
    "gpt-neo": _lm(
        "GPTNeo", "GPTNeo", **_GPT, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global"], 2]],
        max_position_embeddings=64,
    ),
    "gpt-bigcode": _lm("GPTBigCode", "GPTBigCode", **_GPT, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "phi": _lm("Phi", "Phi", **_TEXT),
    "phi3": _lm("Phi3", "Phi3", num_key_value_heads=2, **_TEXT),
    "gemma2": _lm("Gemma2", "Gemma2", num_key_value_heads=2, head_dim=8, **_TEXT),
    "qwen2": _lm("Qwen2", "Qwen2", num_key_value_heads=2, **_TEXT),
    "qwen3": _lm("Qwen3", "Qwen3", num_key_value_heads=2, head_dim=8, **_TEXT),
    "olmo2": _lm("Olmo2", "Olmo2", **_TEXT),
    "mamba": _lm("Mamba", "Mamba", **_GPT, hidden_size=32, num_hidden_layers=2, state_size=4),
}  # fmt: skip

EXPERTS: dict[str, Family] = {
    "mixtral": _lm("Mixtral", "Mixtral", num_key_value_heads=2, num_local_experts=4, **_TEXT),
    "qwen2-moe": _lm(
        "Qwen2Moe", "Qwen2Moe", num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
        shared_expert_intermediate_size=32, **_TEXT,
    ),
}  # fmt: skip
