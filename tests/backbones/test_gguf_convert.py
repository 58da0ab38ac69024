"""A Gemma 3 in GGUF, written here with random weights: its logits and its tokenizer after the conversion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from ptviz.backbones import BackboneError, load_backbone
from ptviz.backbones.gguf_convert import convert_gguf
from ptviz.tasks import Template

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["▁t", "he", "▁the", "▁", "t", "h", "e", "a", "aa", "1", "2", "ü", "th"]
TOKENS = ["<pad>", "<eos>", "<bos>", "<unk>", "\n", "\n\n", "  ", *BYTES, *WORDS]
KINDS = [3, 3, 3, 3, 4, 4, 4, *[6] * 256, *[1] * len(WORDS)]
SCORES = [*[-1000.0] * 7, *[0.0] * 256, *[-float(rank) for rank in range(len(WORDS))]]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 7, "num_attention_heads": 2}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "model.embed_tokens": "token_embd", "model.norm": "output_norm",
}  # fmt: skip


def make_model() -> Gemma3ForCausalLM:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(TOKENS), num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, **SIZES
    )
    model = Gemma3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return model


def write_gguf(path: Path, model: Gemma3ForCausalLM, rope: float = 1e6) -> None:
    writer = GGUFWriter(path, "gemma3")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(7)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(16)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(rope)
    writer.add_sliding_window(8)
    writer.add_token_list(TOKENS)
    writer.add_token_scores(SCORES)
    writer.add_token_types(KINDS)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for name, weight in model.state_dict().items():
        layer, _, own = name.removesuffix(".weight").removeprefix("model.layers.").partition(".")
        known = f"blk.{layer}.{GGUF_NAMES[own]}" if layer.isdigit() else GGUF_NAMES.get(name.removesuffix(".weight"))
        if known is not None:
            writer.add_tensor(f"{known}.weight", (weight + known.endswith("norm")).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma")
    write_gguf(folder / "model.gguf", make_model())
    convert_gguf(folder / "model.gguf", folder / "converted")
    return folder / "converted"


@torch.no_grad()
def test_the_converted_model_is_the_same(converted: Path) -> None:
    backbone, ids = load_backbone(str(converted), "cpu"), torch.arange(20)[None] + 100
    assert torch.allclose(backbone.model(ids).logits, make_model()(ids).logits, atol=1e-4)
    assert backbone.family == "decoder"
    assert torch.equal(backbone.embedding_table[ids[0]], backbone.embed_tokens(ids)[0]), "as they enter the model"
    assert backbone.embedding_table[5].norm() > 4 * backbone.model.get_input_embeddings().weight[5].norm()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (" the", ["▁the"]),
        ("the the", ["t", "he", "▁the"]),  # Not "th", "e": "he" has the better score.
        ("aaa", ["aa", "a"]),
        (" 12", ["▁", "1", "2"]),
        ("the  t\n\n\nt", ["t", "he", "  ", "t", "\n\n", "\n", "t"]),
        ("é😀ü", [f"<0x{byte:02X}>" for byte in "é😀".encode()] + ["ü"]),
        ("", []),
    ],
)
def test_the_converted_tokenizer(converted: Path, text: str, tokens: list[str]) -> None:
    tokeniser = AutoTokenizer.from_pretrained(converted)
    ids = tokeniser(text, add_special_tokens=False)["input_ids"]
    assert tokeniser.convert_ids_to_tokens(ids) == tokens
    assert tokeniser.decode(ids) == text
    assert tokeniser(text)["input_ids"] == [2, *ids]
    assert (tokeniser.pad_token_id, tokeniser.eos_token_id, tokeniser.unk_token_id) == (0, 1, 3)
    assert tokeniser.chat_template == "{{ messages[0]['content'] }}"


def test_a_decoder_that_begins_with_bos_gets_it_before_the_prompt(converted: Path) -> None:
    tokeniser = AutoTokenizer.from_pretrained(converted)
    row = Template.for_readout("last", "t").encode(" the", tokeniser, 2, 10)
    assert tokeniser.convert_ids_to_tokens(row.ids) == ["<bos>", "<pad>", "<pad>", "\n", "▁the", "\n", "t"]
    assert row.slots == [False, True, True, False, False, False, False]
    own = Template("{prompt}{bos}{text}", "last").encode(" the", tokeniser, 1, 10)
    assert own.ids[:2] == [0, 2], "a template that says where it stands is followed"


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", make_model(), rope=1e4)
    with pytest.raises(BackboneError, match="rotations of base 1e6, got 10000"):
        convert_gguf(tmp_path / "model.gguf", tmp_path / "converted")
    writer = GGUFWriter(tmp_path / "other.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(BackboneError, match="expected a Llama or Gemma 3 in GGUF, got 'bert'"):
        convert_gguf(tmp_path / "other.gguf", tmp_path / "converted")
