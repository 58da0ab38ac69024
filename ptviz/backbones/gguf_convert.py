"""Conversion of a Llama or Gemma 3 in GGUF to a transformers folder in safetensors, which then loads in a second.

The ``gguf`` package reads the block formats. GGUF orders the rows of a Llama's query and key weights for rotation by
pairs, where transformers rotates halves, and holds a Gemma's norm weights with 1 added. The tokenizer of SmolLM2 is a
byte-level BPE that splits digits one by one ("smollm"); that of Gemma is SentencePiece's BPE, with a score for each
token in the place of merges.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import Gemma3TextConfig, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

from ptviz.backbones.errors import BackboneError

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_GEMMA_LAYER_NAMES = LAYER_NAMES | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
TOP_LEVEL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_GEMMA_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
_CONTROL, _USER_DEFINED, _NORMAL = 3, 4, 1
"""Types of tokens in GGUF; the rest are single bytes."""


def convert_gguf(source: Path, target: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer of a GGUF model into a fresh folder.

    Raises:
        BackboneError: if the file is not a Llama or Gemma 3 in GGUF.
    """
    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    kind = facts.get("general.architecture")
    if kind not in ("llama", "gemma3"):
        raise BackboneError(f"{source.name}: expected a Llama or Gemma 3 in GGUF, got {kind!r}")
    is_gemma = kind == "gemma3"
    config = _make_gemma_config(facts) if is_gemma else _make_config(facts)
    target.mkdir(parents=True)
    tensors = {}
    for tensor in reader.tensors:
        weight = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        convert = _convert_gemma_tensor if is_gemma else _convert_tensor
        name, weight = convert(tensor.name, weight, config)
        tensors[name] = weight.contiguous()
    config.tie_word_embeddings = "lm_head.weight" not in tensors
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    architecture = "Gemma3ForCausalLM" if is_gemma else "LlamaForCausalLM"
    (target / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": [architecture]}, indent=1))
    tokeniser = _make_gemma_tokeniser(facts) if is_gemma else _make_tokeniser(facts)
    tokeniser.chat_template = facts.get("tokenizer.chat_template")
    tokeniser.save_pretrained(target)


def _shared_settings(facts: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the settings that the configs of both families have, from a GGUF file's facts."""
    names = {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    }
    sizes = {name: facts[f"{kind}.{fact}"] for name, fact in names.items()}
    return {"vocab_size": len(facts["tokenizer.ggml.tokens"]), **sizes}


def _make_config(facts: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        **_shared_settings(facts, "llama"),
        rope_theta=facts.get("llama.rope.freq_base", 10000.0),
        bos_token_id=facts.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=facts.get("tokenizer.ggml.eos_token_id"),
    )


def _make_gemma_config(facts: dict[str, Any]) -> Gemma3TextConfig:
    def fact(name: str) -> Any:
        return facts[f"gemma3.{name}"]

    # Not in the file: the base of local rotations and the order of the layers, five local ones before a global one,
    # which are those of every Gemma 3 and the defaults of the config.
    if fact("rope.freq_base") != _GEMMA_ROPE["full_attention"]["rope_theta"]:
        raise BackboneError(f"expected a Gemma 3 with rotations of base 1e6, got {fact('rope.freq_base'):g}")
    return Gemma3TextConfig(
        **_shared_settings(facts, "gemma3"),
        head_dim=fact("attention.key_length"),
        query_pre_attn_scalar=fact("attention.key_length"),
        sliding_window=fact("attention.sliding_window"),
        rope_parameters=_GEMMA_ROPE,
        bos_token_id=facts["tokenizer.ggml.bos_token_id"],
        eos_token_id=facts["tokenizer.ggml.eos_token_id"],
        pad_token_id=facts["tokenizer.ggml.padding_token_id"],
    )


def _convert_gemma_tensor(name: str, weight: torch.Tensor, config: PretrainedConfig) -> tuple[str, torch.Tensor]:
    parts = name.split(".")
    weight = weight - 1 if parts[-2].endswith("norm") else weight
    if parts[0] != "blk":
        return f"{TOP_LEVEL_NAMES[parts[0]]}.weight", weight
    return f"model.layers.{parts[1]}.{_GEMMA_LAYER_NAMES[parts[2]]}.weight", weight


def _convert_tensor(name: str, weight: torch.Tensor, config: PretrainedConfig) -> tuple[str, torch.Tensor]:
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
    core.add_special_tokens(
        [AddedToken(t, special=True) for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    )
    name = {key: tokens[facts[f"tokenizer.ggml.{key}_token_id"]] for key in ("bos", "eos")}
    pad = facts.get("tokenizer.ggml.padding_token_id", facts["tokenizer.ggml.eos_token_id"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=name["bos"],
        eos_token=name["eos"],
        pad_token=tokens[pad],
        clean_up_tokenization_spaces=False,
    )


def _make_gemma_tokeniser(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    kinds: list[int] = facts["tokenizer.ggml.token_type"]
    core = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=_merges_of_scores(tokens, kinds, facts["tokenizer.ggml.scores"]),
            unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    core.normalizer = normalizers.Replace(" ", "\u2581")
    core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    known = list(zip(tokens, kinds, strict=True))
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in known if kind == _CONTROL])
    # Runs of blanks, tabs and newlines, and HTML tags: cut out of the text as they stand, before anything is merged.
    core.add_tokens([AddedToken(t, normalized=False) for t, kind in known if kind == _USER_DEFINED])
    names = {
        f"{key}_token": tokens[facts[f"tokenizer.ggml.{fact}_token_id"]]
        for key, fact in {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}.items()
    }
    bos = names["bos_token"]
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, facts["tokenizer.ggml.bos_token_id"])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)


def _merges_of_scores(tokens: list[str], kinds: list[int], scores: list[float]) -> list[tuple[str, str]]:
    """Return the merges of a SentencePiece BPE, best first: every way to put a token together has the token's score."""
    ids = {token: i for i, token in enumerate(tokens)}
    found = [
        (-scores[i], ids[first], ids[second])
        for token, i in ids.items()
        if kinds[i] == _NORMAL
        for cut in range(1, len(token))
        if (first := token[:cut]) in ids and (second := token[cut:]) in ids
    ]
    return [(tokens[first], tokens[second]) for _, first, second in sorted(found)]
