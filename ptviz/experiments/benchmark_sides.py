"""The two sides of the speed benchmark: ptviz and PEFT on the same random weights, examples, loss and gradient.

The weights are random in the shapes of real models: speed does not depend on them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ptviz.backbones import Backbone, Readout, wrap_model
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.prompt import NO_TARGET, Batch, Prompt

Family = Literal["encoder", "decoder", "encoder-decoder"]
FAMILIES: tuple[Family, ...] = ("encoder", "decoder", "encoder-decoder")
Work = Literal["label", "text", "generate"]
WORKS: tuple[Work, ...] = ("label", "text", "generate")
"""What is measured: a step on labels, a step on target texts, and writing."""
CLASS_COUNT = 6
NEW_TOKENS = 16
"""Tokens written after each input."""


@dataclass(frozen=True)
class TokenisedExample:
    """Token ids, a label (a class, or a token id for families that predict from the vocabulary) and a target text."""

    ids: list[int]
    label: int
    target: list[int]


TrainingStep = Callable[[Sequence[TokenisedExample]], tuple[float, Tensor]]
GenerateTokens = Callable[[Sequence[TokenisedExample]], list[list[int]]]


def make_model(family: Family, smooth: bool = False) -> PreTrainedModel:
    """Return a random model in the shape of all-MiniLM-L6-v2, SmolLM2-135M or T5-small.

    ``smooth`` replaces T5's ReLU, whose gradient jumps with the last bit of a number near zero, by GELU.
    """
    torch.manual_seed(0)
    if family == "encoder":
        shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        return BertModel(BertConfig(vocab_size=30522, **shape), add_pooling_layer=False).eval()
    if family == "decoder":
        return make_decoder(30)
    activation = "gelu" if smooth else "relu"
    return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, feed_forward_proj=activation)).eval()


def make_decoder(layers: int) -> PreTrainedModel:
    """Return a random decoder in the width of SmolLM2-135M."""
    torch.manual_seed(0)
    shape = {"hidden_size": 576, "num_hidden_layers": layers, "num_attention_heads": 9, "intermediate_size": 1536}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=49152, num_key_value_heads=3, tie_word_embeddings=True, **shape)
    ).eval()


def make_examples(count: int, family: Family, seed: int = 0) -> list[TokenisedExample]:
    """Return examples of 5 to 64 tokens, log-normal around 14, like the texts of the built-in tasks.

    Targets have 2 to 16 tokens.
    """
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.exp(torch.randn(count, generator=draw) * 0.6 + 2.64).round().long().clamp(5, 64)
    labels = torch.randint(CLASS_COUNT if family == "encoder" else 20000, (count,), generator=draw)
    ids = [torch.randint(1000, 20000, (int(n),), generator=draw).tolist() for n in lengths]
    sizes = torch.randint(2, 17, (count,), generator=draw).tolist()
    targets = [torch.randint(1000, 20000, (n,), generator=draw).tolist() for n in sizes]
    return [TokenisedExample(*row) for row in zip(ids, labels.tolist(), targets, strict=True)]


def pad_ids(rows: Sequence[list[int]], fill: int = 0, lead: int = 0) -> Tensor:
    """Return ids padded on the right to the longest, after ``lead`` empty columns."""
    width = max(map(len, rows))
    return torch.tensor([[fill] * lead + row + [fill] * (width - len(row)) for row in rows])


def pad_examples(rows: Sequence[TokenisedExample], lead: int = 0) -> tuple[Tensor, Tensor]:
    """Return ids and mask, padded on the right to the longest, after ``lead`` empty columns."""
    ids = pad_ids([row.ids for row in rows], lead=lead)
    lengths = torch.tensor([lead + len(row.ids) for row in rows])
    return ids, torch.arange(ids.shape[1])[None] < lengths[:, None]


def wrap_backbone(family: Family, model: PreTrainedModel, dtype: torch.dtype) -> Backbone:
    """Return a model as ptviz's backbone, with the positions that PEFT uses."""
    backbone = wrap_model("bench", "bench", model, make_tiny_tokeniser(), random=True).to(dtype)
    if family == "encoder":
        backbone.sequential_positions = True  # type: ignore[assignment]
    return backbone


def make_ptviz_step(family: Family, backbone: Backbone, start: Tensor, work: Work = "label") -> TrainingStep:
    """Return ptviz's training step: loss and gradient of the prompt."""
    if family == "encoder":
        readout = Readout(_random_prototypes(backbone.width), None, 20.0, True, ("",) * CLASS_COUNT)
    else:
        readout = backbone.make_vocabulary_readout()
    P = nn.Parameter(start.clone())

    def step(rows: Sequence[TokenisedExample]) -> tuple[float, Tensor]:
        P.grad = None
        loss = backbone(_make_batch(backbone, rows, len(start), work), Prompt(embeddings=P[None]), readout).loss
        loss.backward()
        return loss.item(), _gradient(P)

    return step


def make_ptviz_generator(backbone: Backbone, start: Tensor) -> GenerateTokens:
    """Return ptviz's greedy writing with a prompt, up to ``NEW_TOKENS`` tokens."""
    settings = GenerationSettings(max_new_tokens=NEW_TOKENS)

    def write(rows: Sequence[TokenisedExample]) -> list[list[int]]:
        return generate(backbone, _make_batch(backbone, rows, len(start), "label"), Prompt(start[None]), settings)

    return write


def _make_batch(backbone: Backbone, rows: Sequence[TokenisedExample], m: int, work: Work) -> Batch:
    ids, mask = pad_examples(rows, m)
    slots = torch.zeros_like(mask)
    slots[:, :m] = True
    last = F.one_hot(mask.sum(1) - 1, mask.shape[1]).bool()
    read = mask & ~slots if backbone.family == "encoder" else last
    labels = torch.tensor([row.label for row in rows])
    targets = pad_ids([row.target for row in rows], NO_TARGET) if work == "text" else None
    return Batch(ids, mask, slots, read, labels, torch.zeros_like(labels), backbone.embed_tokens(ids), targets)


def _gradient(P: nn.Parameter) -> Tensor:
    if P.grad is None:
        raise RuntimeError("expected a gradient of the prompt; got none")
    return P.grad


def make_peft(family: Family, model: PreTrainedModel, start: Tensor) -> Any:
    """Return a model with PEFT's prompt tuning that begins at ``start``."""
    from peft import PromptTuningConfig, get_peft_model

    kind = {"encoder": "FEATURE_EXTRACTION", "decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}[family]
    config = PromptTuningConfig(task_type=kind, num_virtual_tokens=len(start), num_transformer_submodules=1)
    peft: Any = get_peft_model(model, config).eval()
    with torch.no_grad():
        _peft_prompt(peft).copy_(start)
    return peft


def _peft_prompt(peft: Any) -> nn.Parameter:
    weight: nn.Parameter = peft.prompt_encoder["default"].embedding.weight
    return weight


def make_peft_step(family: Family, peft: Any, work: Work = "label") -> TrainingStep:
    """Return the training step of PEFT's prompt tuning, with its own layout, padding and loss."""
    prompt = _peft_prompt(peft)
    prototypes = _random_prototypes(prompt.shape[1])

    def written(row: TokenisedExample) -> list[int]:
        return row.target if work == "text" else [row.label]

    def loss_of(rows: Sequence[TokenisedExample]) -> Tensor:
        if family == "decoder":
            ids, mask = pad_examples([TokenisedExample([*row.ids, *written(row)], row.label, []) for row in rows])
            labels = pad_ids([[NO_TARGET] * len(row.ids) + written(row) for row in rows], NO_TARGET)
            loss: Tensor = peft(input_ids=ids, attention_mask=mask.long(), labels=labels).loss
            return loss
        ids, mask = pad_examples(rows)
        if family == "encoder-decoder":
            labels = pad_ids([written(row) for row in rows], NO_TARGET)
            loss = peft(input_ids=ids, attention_mask=mask.long(), labels=labels).loss
            return loss
        state = peft(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, len(prompt) :].float()
        weight = mask[..., None].float()
        pooled = F.normalize((state * weight).sum(1) / weight.sum(1), dim=-1)
        return F.cross_entropy(20.0 * pooled @ prototypes.T, torch.tensor([row.label for row in rows]))

    def step(rows: Sequence[TokenisedExample]) -> tuple[float, Tensor]:
        prompt.grad = None
        loss = loss_of(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), _gradient(prompt)

    return step


def make_peft_generator(family: Family, peft: Any) -> GenerateTokens:
    """Return PEFT's greedy writing with transformers' ``generate``, up to ``NEW_TOKENS`` tokens."""
    own = peft.generation_config.eos_token_id
    end = make_tiny_tokeniser().eos_token_id if own is None else own

    @torch.no_grad()
    def write(rows: Sequence[TokenisedExample]) -> list[list[int]]:
        ids, mask = pad_examples(rows)
        if family == "decoder":  # New tokens follow the last column.
            ids, mask = ids.flip(1), mask.flip(1)
            ids = torch.stack([torch.cat([row[~on], row[on].flip(0)]) for row, on in zip(ids, mask, strict=True)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's remark that it computes positions itself
            found = peft.generate(
                input_ids=ids, attention_mask=mask.long(), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
                eos_token_id=end,
            )  # fmt: skip
        written = found[:, ids.shape[1] :] if family == "decoder" else found[:, 1:]
        return [row[: row.index(end)] if end in row else row for row in written.tolist()]

    return write


def _random_prototypes(width: int) -> Tensor:
    return F.normalize(torch.randn(CLASS_COUNT, width, generator=torch.Generator().manual_seed(1)), dim=-1)
