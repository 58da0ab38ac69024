"""A check that a prompt means to a model what its own tokens would: for models that were not compared with PEFT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ptviz.backbones.base import Backbone
from ptviz.backbones.errors import BackboneError
from ptviz.prompt import Batch, Prompt

_TOKENS, _PROMPT, _TARGETS = 7, 3, 2
_CLOSE = 1e-3


@dataclass(frozen=True)
class OwnScores:
    """What a model gives for a few tokens with transformers' own attention.

    ``plain`` are its outputs, ``writing`` (U, V) the scores of the next tokens; None for an encoder.
    """

    plain: Tensor
    writing: Tensor | None


@torch.no_grad()
def record_own_scores(model: PreTrainedModel, writes: bool) -> OwnScores:
    """Return the outputs of a model for a few tokens, one of them padding; its attention becomes the eager one."""
    model.set_attn_implementation("eager")
    model.eval()
    plain = _plain_output(model)
    if not writes:
        return OwnScores(plain, None)
    ids, targets = _tokens(model)
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        begin = torch.full((1, 1), (model.config.pad_token_id or 0) if start is None else start)
        return OwnScores(
            plain, model(input_ids=ids, decoder_input_ids=torch.cat([begin, targets[:, :-1]], 1)).logits[0]
        )
    return OwnScores(plain, model(input_ids=torch.cat([ids, targets[:, :-1]], 1)).logits[0, -_TARGETS:])


@torch.no_grad()
def check_own_scores(backbone: Backbone, own: OwnScores) -> None:
    """Check that the attention through which prompts enter gives the model's own outputs, also behind a prompt.

    The prompt is the embeddings of the model's own tokens, so its scores have to be those of the plain text.

    Raises:
        BackboneError: if they differ.
    """
    _compare(backbone.name, own.plain, _plain_output(backbone.model), "its own attention and ptviz's")
    if own.writing is None:
        return
    ids, targets = _tokens(backbone.model)
    slots = torch.zeros_like(ids, dtype=torch.bool)
    slots[:, :_PROMPT] = True
    read = torch.zeros_like(slots)
    read[:, -1] = True
    none, embeddings = torch.zeros(1, dtype=torch.long), backbone.embed_tokens(ids)
    batch = Batch(ids, torch.ones_like(slots), slots, read, none, none, embeddings, targets)
    scores = backbone(batch, Prompt(embeddings=embeddings[:, :_PROMPT]), backbone.make_vocabulary_readout()).logits
    _compare(backbone.name, own.writing, scores, "its own tokens and the same tokens as a prompt")


def _tokens(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Return input (1, T) and target (1, U) token ids."""
    ids = torch.arange(3, 3 + _TOKENS + _TARGETS)[None] % model.get_input_embeddings().weight.shape[0]
    return ids[:, :_TOKENS], ids[:, _TOKENS:]


def _plain_output(model: PreTrainedModel) -> Tensor:
    ids = torch.arange(1, 9)[None] % model.get_input_embeddings().weight.shape[0]
    mask = torch.tensor([[1] * 7 + [0]])
    decoder = {"decoder_input_ids": ids[:, :2]} if model.config.is_encoder_decoder else {}
    found: Tensor = model(input_ids=ids, attention_mask=mask, **decoder)[0]
    return found if decoder else found[:, :7]


def _compare(name: str, expected: Tensor, got: Tensor, between: str) -> None:
    error = float((expected - got).abs().max() / expected.abs().max().clamp(min=1e-9))
    if not error < _CLOSE:
        raise BackboneError(
            f"{name}: {between} give different outputs (relative error {error:.2g}), so prompts would be trained on a "
            "different model; choose another backbone"
        )
