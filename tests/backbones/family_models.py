"""A tiny model with loud random weights for every family of the one list, built without a file or a hub."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from ptviz.backbones.families import Family

WINDOW = 12
"""Shorter than the longest texts of the tests, longer than their prompts."""

_SIZES: dict[str, Any] = {
    # The configs name the same sizes in three ways.
    **{"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
    **{"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "query_pre_attn_scalar": 8},
    **{"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "ffn_dim": 48, "word_embed_proj_dim": 32},
    **{"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "dim": 32, "hidden_dim": 48},
    **{"d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "embedding_size": 32},
    **{"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4},
    **{"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "scale_embedding": True},
    **{"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    **{"shared_expert_intermediate_size": 16},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
}
_OWN: dict[str, dict[str, Any]] = {
    "roberta": {"pad_token_id": 1},
    "xlm-roberta": {"pad_token_id": 1},
    "camembert": {"pad_token_id": 1},
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "attention_multiplier": 0.4},
    "granitemoe": {"logits_scaling": 3.0},
    "falcon": {"head_dim": None},
    # With tied embeddings of this width they write one token for ever.
    "gemma2": {"tie_word_embeddings": False},
    "gemma3_text": {"tie_word_embeddings": False},
    "t5": {"decoder_start_token_id": 0},
    "mt5": {"decoder_start_token_id": 0},
}
_CAPPED = ("gemma2", "vaultgemma", "nanochat")
"""Their released caps never bind on numbers this small."""


def make_config(model_type: str, **settings: Any) -> Any:
    """Return a tiny config: what the family has of the common sizes, its own settings, and a window if it has one."""
    usual = AutoConfig.for_model(model_type)
    found = {name: size for name, size in _SIZES.items() if hasattr(usual, name)}
    if getattr(usual, "sliding_window", None):
        found["sliding_window"] = WINDOW
    if model_type in _CAPPED:
        found["final_logit_softcapping"] = 2.0
    if getattr(usual, "attn_logit_softcapping", None):
        found["attn_logit_softcapping"] = 1.0
    found |= _OWN.get(model_type, {}) | settings
    return type(usual)(**{name: value for name, value in found.items() if value is not None})


def make_model(family: Family, pooled: bool = False, **settings: Any) -> PreTrainedModel:
    """Return a tiny model with transformers' eager attention and the same random weights at every call."""
    config = make_config(family.model_type, **settings)
    kinds = {
        "encoder": AutoModelForMaskedLM,
        "decoder": AutoModelForCausalLM,
        "encoder-decoder": AutoModelForSeq2SeqLM,
    }
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = (AutoModel if pooled else kinds[family.kind]).from_config(config)
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and tensor.ndim > 1:
                tensor.copy_(0.25 * torch.randn_like(tensor))
            elif tensor.is_floating_point() and tensor.numel() > 1 and "inv_freq" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
        model.tie_weights()
    if model._can_set_attn_implementation():
        model.set_attn_implementation("eager")
    return model.eval()
