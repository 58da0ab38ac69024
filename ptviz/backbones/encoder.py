"""Encoders: the answer is read at the mask token, or from the pooled text against label descriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptviz.backbones import bert_last_layer
from ptviz.backbones.base import Backbone, Readout, kv_kwargs, marked_column, select_hidden
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.prompt import Batch, Prompt

COSINE_SCALE = 20.0
"""Scale of the cosine read-out, as in the training of such sentence encoders."""


class EncoderBackbone(Backbone):
    """BERT-style models.

    The prompt follows [CLS] at positions 1 to m (elsewhere in a template: at the positions after the token before it),
    and the text keeps the positions it has without a prompt: the frozen model sees its text unchanged, with a prompt
    added. Trained keys and values count as past positions instead, as in the released code of P-Tuning v2 and as on
    decoders: the text begins at position m.
    """

    family = "encoder"
    sequential_positions = False
    """Whether positions count through prompt and text, as in PEFT, instead of leaving the text's unchanged."""

    def position_ids(self, batch: Batch, past: int = 0) -> Tensor | None:
        """Return position ids (B, T): the text's as without a prompt, in slots those that follow; ``past`` more."""
        offset = POSITION_OFFSETS.get(self.model.config.model_type)
        if offset is None:
            return None
        if self.sequential_positions:
            return torch.arange(offset, offset + batch.mask.shape[1], device=batch.mask.device).expand(len(batch), -1)
        text = (~batch.slots).long().cumsum(1) - 1
        counts = batch.slots.long().cumsum(1)
        # Slots between two tokens are counted from the first of them.
        slots = text.clamp(min=0) + counts - counts.masked_fill(batch.slots, 0).cummax(1).values
        longest = self.model.config.max_position_embeddings - offset - 1
        positions = torch.where(batch.slots, slots, text) + past
        if positions.shape[1] + past > longest and int(positions.max()) > longest:
            raise BackboneError(
                f"{self.name} has {longest + 1} positions; this input needs {int(positions.max()) + 1}: "
                "shorten text or prompt"
            )
        return positions + offset

    def encode_text(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, **keywords: Any
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...] | None]:
        """Return last hidden states (B, R, d), the columns to read (B, R), and all hidden states if requested."""
        past = prompt.past
        positions, filled = self.position_ids(batch, past), self.fill_slots(batch, x, prompt)
        trunk = self.model.base_model
        if (
            self.allows_shortcuts(keywords)
            and positions is not None
            and self.model.config.model_type in bert_last_layer.SUPPORTED_FAMILIES
        ):
            columns = batch.readout_mask.any(0).nonzero()[:, 0]
            states = bert_last_layer.encode_columns(trunk, filled, mask, positions, columns, **kv_kwargs(prompt))
            return states, batch.readout_mask[:, columns], None
        if positions is not None:
            keywords["position_ids"] = positions
        out = trunk(inputs_embeds=filled, attention_mask=mask, **kv_kwargs(prompt), **keywords)
        return out.last_hidden_state, batch.readout_mask, getattr(out, "hidden_states", None)


POSITION_OFFSETS = {
    "bert": 0, "electra": 0, "distilbert": 0, "modernbert": 0, "roberta": 2, "xlm-roberta": 2, "camembert": 2,
}  # fmt: skip
"""First position of the families that take position ids, learned or rotary."""


class PooledEncoder(EncoderBackbone):
    """Sentence encoders without a language-model head: mean of the outputs, cosine with label descriptions."""

    readout_mode = "pooled"

    def compute_answer_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, **keywords: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mean over the text's tokens; prompt tokens are not part of it."""
        last, read, states = self.encode_text(batch, x, mask, prompt, **keywords)

        def pool(state: Tensor) -> Tensor:
            weight = read.to(state.dtype)[..., None]
            return (state * weight).sum(1) / weight.sum(1)

        return pool(last), select_hidden(states, pool)

    @torch.no_grad()
    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...], lead: str = " ") -> Readout:
        """Return a read-out of 20 times the cosine with the embeddings of the label descriptions."""
        ids = self.tokeniser(list(descriptions), padding=True, return_tensors="pt").to(self.device)
        state = self.model.base_model(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]
        ).last_hidden_state
        weight = ids["attention_mask"][..., None].to(state.dtype)
        pooled = (state * weight).sum(1) / weight.sum(1)
        return Readout(F.normalize(pooled.float(), dim=-1), None, COSINE_SCALE, True, words)


class MaskedEncoder(EncoderBackbone):
    """Masked language models: the score of each label word at the mask token."""

    readout_mode = "mask"

    def __init__(self, name: str, title: str, model: PreTrainedModel, tokeniser: Any, random: bool) -> None:
        super().__init__(name, title, model, tokeniser, random)
        self.transform = masked_lm_transform(model)

    def compute_answer_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, **keywords: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the hidden state at the mask token after the head's transform."""
        last, read, states = self.encode_text(batch, x, mask, prompt, **keywords)
        rows, columns = torch.arange(len(x), device=x.device), marked_column(read)
        return self.transform(last[rows, columns]), select_hidden(states, lambda state: state[rows, columns])

    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...], lead: str = " ") -> Readout:
        """Return the label words' rows of the frozen output embedding."""
        ids = assign_label_tokens(self.tokeniser, words)
        head = self.model.get_output_embeddings()
        bias = None if head.bias is None else head.bias[ids].float()
        return Readout(head.weight[ids].float(), bias, 1.0, False, words)


def masked_lm_transform(model: PreTrainedModel) -> nn.Module:
    """Return what a masked language model applies between last hidden state and output embedding.

    Raises:
        BackboneError: for a family whose head is not known here.
    """
    kinds: dict[str, Callable[[], nn.Module]] = {
        "bert": lambda: model.cls.predictions.transform,
        "roberta": lambda: nn.Sequential(model.lm_head.dense, nn.GELU(), model.lm_head.layer_norm),
        "distilbert": lambda: nn.Sequential(model.vocab_transform, model.activation, model.vocab_layer_norm),
        "electra": lambda: model.generator_predictions,
        "modernbert": lambda: model.head,
    }
    kinds["xlm-roberta"] = kinds["camembert"] = kinds["roberta"]
    kind = model.config.model_type
    if kind not in kinds:
        raise BackboneError(f"expected a masked language model of {', '.join(sorted(kinds))}; got {kind}")
    return kinds[kind]()
