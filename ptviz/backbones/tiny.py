"""Tiny backbones with random weights, for tests and quick trials."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

TOKENISER_CORPUS = (
    "the of and to in is was for on that by this with what which who where when why how many much does do did a an are "
    "person place number thing meaning reason description entity human location numeric abbreviation positive negative "
    "good bad happy sad love hate great terrible spam normal ham message free call text win now sport business "
    "politics technology entertainment science health world music film game team market money bank card account "
    "transfer balance yes no same different true false question answer topic type intent sentiment time day year city "
    "country name"
)

TINY_SIZES = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
}


def make_tiny_tokeniser() -> PreTrainedTokenizerFast:
    """Return a byte-level tokeniser of at most 600 pieces, which can encode any text."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "</s>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=sorted(alphabet), min_frequency=1, show_progress=False
    )
    core.train_from_iterator([TOKENISER_CORPUS, " " + TOKENISER_CORPUS] * 3, trainer)
    pad, cls, sep, mask, eos = special
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=pad, cls_token=cls, sep_token=sep, mask_token=mask, eos_token=eos
    )


def _make_encoder() -> PreTrainedModel:
    return BertForMaskedLM(BertConfig(**TINY_SIZES, max_position_embeddings=512))


def _make_decoder() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**TINY_SIZES, num_key_value_heads=2, max_position_embeddings=1024))


def _make_encoder_decoder() -> PreTrainedModel:
    return T5ForConditionalGeneration(
        T5Config(vocab_size=600, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, decoder_start_token_id=0)
    )


TINY_BACKBONES: dict[str, Callable[[], PreTrainedModel]] = {
    "tiny-encoder": _make_encoder,
    "tiny-decoder": _make_decoder,
    "tiny-encoder-decoder": _make_encoder_decoder,
}


def make_tiny_model(name: str) -> PreTrainedModel:
    """Return a model with the same random weights every time; torch's global state is untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TINY_BACKBONES[name]().eval()
