"""Conversion of a Llama in GGUF to a transformers folder in safetensors, which then loads in a second.

The ``gguf`` package reads the block formats. GGUF orders the rows of query and key weights for rotation by pairs, where
transformers rotates halves; its tokenizer is a byte-level BPE that splits digits one by one ("smollm").
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from ptviz.backbones.attention import BackboneError

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
TOP_LEVEL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def convert_gguf(source: Path, target: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer of a GGUF Llama into a fresh folder.

    Raises:
        BackboneError: if the file is not a Llama in GGUF.
    """
    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    if facts.get("general.architecture") != "llama":
        raise BackboneError(f"{source.name}: expected a GGUF Llama, got {facts.get('general.architecture')!r}")
    config = _make_config(facts)
    target.mkdir(parents=True)
    tensors = {}
    for tensor in reader.tensors:
        weight = torch.from_numpy(np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        name, weight = _convert_tensor(tensor.name, weight, config)
        tensors[name] = weight.clone()
    config.tie_word_embeddings = "lm_head.weight" not in tensors
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(
        json.dumps({**config.to_dict(), "architectures": ["LlamaForCausalLM"]}, indent=1)
    )
    _make_tokeniser(facts).save_pretrained(target)


def _make_config(facts: dict[str, Any]) -> LlamaConfig:
    def fact(name: str) -> Any:
        return facts[f"llama.{name}"]

    return LlamaConfig(
        vocab_size=len(facts["tokenizer.ggml.tokens"]),
        hidden_size=fact("embedding_length"),
        intermediate_size=fact("feed_forward_length"),
        num_hidden_layers=fact("block_count"),
        num_attention_heads=fact("attention.head_count"),
        num_key_value_heads=fact("attention.head_count_kv"),
        max_position_embeddings=fact("context_length"),
        rms_norm_eps=fact("attention.layer_norm_rms_epsilon"),
        rope_theta=facts.get("llama.rope.freq_base", 10000.0),
        bos_token_id=facts.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=facts.get("tokenizer.ggml.eos_token_id"),
    )


def _convert_tensor(name: str, weight: torch.Tensor, config: LlamaConfig) -> tuple[str, torch.Tensor]:
    parts = name.split(".")
    if parts[0] != "blk":
        return f"{TOP_LEVEL_NAMES[parts[0]]}.weight", weight
    kind = parts[2]
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(kind)
    if heads is not None:
        rows, columns = weight.shape
        weight = weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
    return f"model.layers.{parts[1]}.{LAYER_NAMES[kind]}.weight", weight


def _make_tokeniser(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in facts["tokenizer.ggml.merges"]]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    kinds = facts["tokenizer.ggml.token_type"]
    core.add_special_tokens([AddedToken(t, special=True) for t, kind in zip(tokens, kinds, strict=True) if kind == 3])
    name = {key: tokens[facts[f"tokenizer.ggml.{key}_token_id"]] for key in ("bos", "eos")}
    pad = facts.get("tokenizer.ggml.padding_token_id", facts["tokenizer.ggml.eos_token_id"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=name["bos"],
        eos_token=name["eos"],
        pad_token=tokens[pad],
        clean_up_tokenization_spaces=False,
    )
