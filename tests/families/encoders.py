"""Text encoders."""

from __future__ import annotations

from .family import SIZES, VOCABULARY, Family, ids, of_config

_TEXT = {"vocab_size": VOCABULARY, **SIZES}

ENCODERS: dict[str, Family] = {
    "bert-classifier": of_config(
        "BertForSequenceClassification", "BertConfig", ids, task="classification", num_labels=3, **_TEXT
    ),
    "roberta": of_config("RobertaModel", "RobertaConfig", ids, max_position_embeddings=64, pad_token_id=1, **_TEXT),
    "electra": of_config("ElectraModel", "ElectraConfig", ids, embedding_size=16, **_TEXT),
    "albert": of_config("AlbertModel", "AlbertConfig", ids, embedding_size=16, **_TEXT),
    "mpnet": of_config("MPNetModel", "MPNetConfig", ids, **_TEXT),
    "squeezebert": of_config("SqueezeBertModel", "SqueezeBertConfig", ids, embedding_size=32, **_TEXT),
    "modernbert": of_config(
        "ModernBertModel", "ModernBertConfig", ids, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
        sep_token_id=2, **_TEXT,
    ),
    "deberta": of_config(
        "DebertaModel", "DebertaConfig", ids, relative_attention=True, pos_att_type=["c2p", "p2c"], **_TEXT
    ),
    "deberta-v2": of_config(
        "DebertaV2Model", "DebertaV2Config", ids, relative_attention=True, pos_att_type=["p2c", "c2p"],
        position_buckets=4, norm_rel_ebd="layer_norm", share_att_key=True, **_TEXT,
    ),
    "xlnet": of_config(
        "XLNetModel", "XLNetConfig", ids, vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64
    ),
    "funnel": of_config(
        "FunnelModel", "FunnelConfig", ids, vocab_size=VOCABULARY, d_model=32, n_head=4, d_head=8, d_inner=64,
        block_sizes=[1, 1], num_decoder_layers=1,
    ),
}  # fmt: skip
