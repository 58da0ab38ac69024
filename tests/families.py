"""Tiny frozen backbones of every family, one small task that can be learned, and batches of its rows.

The random weights are louder than an initialisation would make them: with timid weights a network is nearly linear in
its last layer, and a test would not notice a prompt that never reached the first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from random import Random

import pytest
import torch
import transformers as T
from hypothesis import settings

from ptviz.backbones import Backbone, Readout, load_backbone, wrap_model
from ptviz.backbones.tiny import TINY_SIZES, make_tiny_tokeniser
from ptviz.methods import PromptMethod, build_method
from ptviz.prompt import Batch
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples

# Other work on the machine must not fail a property.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

T5 = {"vocab_size": 600, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
DISTILBERT = {"vocab_size": 600, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37}
OPT = {**TINY_SIZES, "ffn_dim": 37, "word_embed_proj_dim": 32}
OPT.pop("intermediate_size")
MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BART = {
    "vocab_size": 600, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37,
}  # fmt: skip

MODELS: dict[str, Callable[[], T.PreTrainedModel]] = {
    "bert": lambda: T.BertForMaskedLM(T.BertConfig(**TINY_SIZES)),
    "pooled": lambda: T.BertModel(T.BertConfig(**TINY_SIZES), add_pooling_layer=False),
    "roberta": lambda: T.RobertaForMaskedLM(T.RobertaConfig(**TINY_SIZES)),
    "distilbert": lambda: T.DistilBertForMaskedLM(T.DistilBertConfig(**DISTILBERT)),
    "electra": lambda: T.ElectraForMaskedLM(T.ElectraConfig(**TINY_SIZES, embedding_size=32)),
    "modernbert": lambda: T.ModernBertForMaskedLM(T.ModernBertConfig(**TINY_SIZES, **MARKS)),
    "gpt2": lambda: T.GPT2LMHeadModel(T.GPT2Config(vocab_size=600, n_embd=32, n_layer=2, n_head=4)),
    "opt": lambda: T.OPTForCausalLM(T.OPTConfig(**OPT)),
    "gpt-neox": lambda: T.GPTNeoXForCausalLM(T.GPTNeoXConfig(**TINY_SIZES)),
    "llama": lambda: T.LlamaForCausalLM(T.LlamaConfig(**TINY_SIZES, num_key_value_heads=2)),
    "qwen3": lambda: T.Qwen3ForCausalLM(T.Qwen3Config(**TINY_SIZES, num_key_value_heads=2, head_dim=8)),
    "t5": lambda: T.T5ForConditionalGeneration(T.T5Config(**T5, decoder_start_token_id=0)),
    "t5-untied": lambda: T.T5ForConditionalGeneration(
        T.T5Config(**T5, decoder_start_token_id=0, tie_word_embeddings=False)
    ),
    "bart": lambda: T.BartForConditionalGeneration(T.BartConfig(**BART, scale_embedding=True)),
}
ENCODERS = ("bert", "roberta", "distilbert", "electra", "modernbert")
DECODERS = ("gpt2", "opt", "gpt-neox", "llama", "qwen3")
ENCODER_DECODERS = ("t5", "t5-untied", "bart")
SITES = {name: 6 if name in ENCODER_DECODERS else 2 for name in MODELS}


def model_of(family: str, attention: str = "eager") -> T.PreTrainedModel:
    """A tiny model with loud random weights: the same ones at every call."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = MODELS[family]()
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and tensor.ndim > 1:
                tensor.copy_(0.25 * torch.randn_like(tensor))
            elif tensor.is_floating_point() and "inv_freq" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
        model.tie_weights()
    model.set_attn_implementation(attention)
    return model.eval()


def fresh(family: str) -> Backbone:
    """A backbone of one's own, to be changed at will."""
    if family.startswith("tiny-"):
        return load_backbone(family, "cpu")
    return wrap_model(family, family, model_of(family), make_tiny_tokeniser(), random=True).eval()


def wrap_layers(family: str, layers: int) -> Backbone:
    """A backbone of one's own with the first layers only."""
    model = model_of(family)
    del model.base_model.encoder.layer[layers:]
    model.config.num_hidden_layers = layers
    return wrap_model(family, family, model, make_tiny_tokeniser(), random=True).eval()


@cache
def backbone_of(family: str) -> Backbone:
    """The shared backbone of a family: not to be changed."""
    return fresh(family)


def texts(count: int, seed: int) -> tuple[Example, ...]:
    """Questions of 3 to 12 words; the asking word decides the class."""
    asks, random = ("who", "where", "how many"), Random(seed)
    filler = ("the", "team", "market", "science", "music", "free", "bank", "account", "city", "day", "good", "sad")

    def one(label: int) -> Example:
        words = random.choices(filler, k=random.randrange(2, 10))
        return Example(" ".join([asks[label], *words]), label)

    return tuple(one(i % 3) for i in range(count))


TASK = Task(
    name="asking",
    title="Asking words",
    family="test",
    classes=("person", "place", "number"),
    label_words=("person", "place", "number"),
    descriptions=("a person", "a city or a country", "how many, a number"),
    cue="Answer type:",
    train=texts(45, 1),
    validation=texts(18, 2),
    test=texts(21, 3),
    source="made up",
)


SOURCES = tuple(
    replace(TASK, name=name, train=texts(30, seed), classes=classes, label_words=classes, descriptions=classes)
    for seed, (name, classes) in enumerate(
        {"first source": ("person", "place", "number"), "second source": ("good", "bad", "sad")}.items(), 4
    )
)
"""Source tasks for methods that transfer: the target's own question about other words, and one about nothing."""


def rows_of(family: str | Backbone, m: int, count: int = 8) -> EncodedExamples:
    """Rows of the task, tokenised for a backbone, with m slots."""
    backbone = backbone_of(family) if isinstance(family, str) else family
    return EncodedExamples(backbone, TASK, TASK.train[:count], m, 64)


def case(family: str | Backbone, m: int, count: int = 8) -> tuple[Backbone, Batch, Readout]:
    """A backbone, one batch of rows of mixed length with m slots each, and the task's read-out."""
    rows = rows_of(family, m, count)
    return rows.backbone, rows.make_batch(range(count)), rows.readout


def method_of(name: str, backbone: Backbone, seed: int = 0, **values: object) -> PromptMethod:
    """A method with loud parameters, as after a long training, in evaluation mode."""
    sources = tuple(source.name for source in SOURCES)
    method = build_method(
        name, backbone.make_spec(64, TASK.label_words).with_source_tasks(sources), values, seed
    ).eval()
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw))
    return method


def copied(backbone: Backbone, dtype: torch.dtype) -> Backbone:
    """The same frozen weights at another precision."""
    return copy.deepcopy(backbone).to(dtype)


@contextmanager
def precisely() -> Iterator[None]:
    """Where the code rounds to float32 on purpose, float64 stays float64: sums can be compared to 1e-12."""
    plain = torch.Tensor.float

    def widest(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.dtype == torch.float64 else plain(tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", widest)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
