"""Decoders: the answer is read at the last token; a static prompt runs once for the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ptviz.backbones.base import (
    Backbone,
    Readout,
    kv_kwargs,
    marked_column,
    select_hidden,
    shift_right,
)
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.backbones.packed_decoder import can_pack, run_packed
from ptviz.backbones.prompt_attention import join_key_values
from ptviz.prompt import NO_TARGET, Batch, Prompt


class DecoderBackbone(Backbone):
    """GPT-style models. A key-value prefix counts as past positions.

    In a causal model, prompt positions never see the input. A static prompt at the front therefore runs once per batch,
    and its keys and values at every site become a prefix of all rows: m + B T positions instead of B (m + T), with the
    same loss and gradient. Families that allow it run prompt and rows in one pass without padding.
    """

    family = "decoder"
    readout_mode = "last"

    def compute_answer_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, **keywords: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the last hidden state of each row's final token."""
        if self.allows_shortcuts(keywords):
            lead = self.shared_columns(batch, prompt)
            if can_pack(self.model, prompt, x.shape[1]):
                hidden, places = self.run_packed_rows(batch, x, mask, prompt, lead)
                return hidden[places.gather(1, marked_column(batch.readout_mask)[:, None])[:, 0]], None
            if lead:
                hidden = self.run_shared_prompt(batch, x, mask, prompt, lead)
                rows = torch.arange(len(x), device=x.device)
                return hidden[rows, marked_column(batch.readout_mask) - lead], None
        past = prompt.past
        positions = (mask.long().cumsum(1) - 1).clamp(min=0) + past
        out = self.model.base_model(
            inputs_embeds=self.fill_slots(batch, x, prompt), attention_mask=mask, position_ids=positions,
            use_cache=False, **kv_kwargs(prompt), **keywords,
        )  # fmt: skip
        rows, columns = torch.arange(len(x), device=x.device), marked_column(batch.readout_mask)
        states = select_hidden(getattr(out, "hidden_states", None), lambda state: state[rows, columns])
        return out.last_hidden_state[rows, columns], states

    def compute_target_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, targets: Tensor, *,
        every: bool = False, **keywords: Any,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the final input token's last hidden state, then those of the target tokens but the last; (B, U, d).

        Targets follow the padded inputs; positions count real tokens only, so the padding between them is not seen.
        """
        columns, rows = marked_column(batch.readout_mask), torch.arange(len(x), device=x.device)
        width, real = x.shape[1], targets[:, :-1] != NO_TARGET
        tail = self.embed_tokens(shift_right(targets, self.pad_id)[:, 1:])
        mask = torch.cat([mask, real], 1)
        if self.allows_shortcuts(keywords):
            lead = self.shared_columns(batch, prompt)
            if can_pack(self.model, prompt, mask.shape[1]):
                hidden, places = self.run_packed_rows(batch, x, mask, prompt, lead, tail)
                return hidden[torch.cat([places.gather(1, columns[:, None]), places[:, width:]], 1)], None
            if lead:
                hidden = self.run_shared_prompt(batch, torch.cat([x, tail], 1), mask, prompt, lead)
                return self._predicting(hidden, columns - lead, width - lead), None
        past = prompt.past
        filled = self.fill_slots(batch, x, prompt)
        out = self.model.base_model(
            inputs_embeds=torch.cat([filled, tail.to(filled.dtype)], 1),
            attention_mask=mask,
            position_ids=(mask.long().cumsum(1) - 1).clamp(min=0) + past,
            use_cache=False,
            **kv_kwargs(prompt),
            **keywords,
        )
        states = select_hidden(
            getattr(out, "hidden_states", None),
            lambda state: self._predicting(state, columns, width) if every else state[rows, columns],
        )
        return self._predicting(out.last_hidden_state, columns, width), states

    @staticmethod
    def _predicting(hidden: Tensor, columns: Tensor, width: int) -> Tensor:
        rows = torch.arange(len(hidden), device=hidden.device)
        return torch.cat([hidden[rows, columns][:, None], hidden[:, width:]], 1)

    def make_vocabulary_readout(self) -> Readout:
        """Return the whole frozen output embedding."""
        return self._make_readout(slice(None), ())

    def shared_columns(self, batch: Batch, prompt: Prompt) -> int:
        """Return how many leading columns up to the prompt's end are equal in all rows; 0 for a varying prompt."""
        if prompt.embeddings is None or not prompt.is_static:
            return 0
        width = int(batch.slots.any(0).nonzero()[-1]) + 1
        front = batch.slots[:, :width]
        same = bool((front == front[:1]).all()) and bool(batch.mask[:, :width].all())
        tokens = batch.input_ids[:, :width].masked_fill(front, 0)
        same = same and bool((tokens == tokens[:1]).all())
        if same and prompt.delta is not None:
            ahead = prompt.delta[:, :width].masked_fill(front[..., None], 0)  # Slots hold the unshifted prompt.
            same = bool((ahead == ahead[:1]).all())
        return width if same else 0

    def run_packed_rows(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, lead: int, tail: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden states (N, d) of all tokens, and each token's place among them (B, T + U).

        The first ``lead`` columns run once. ``tail`` (B, U, d) follows the input.
        """
        front = self.shared_front(batch, x, mask, prompt, lead)
        own = x[:, lead:].to(self.dtype) if lead else self.fill_slots(batch, x, prompt)
        if tail is not None:
            own = torch.cat([own, tail.to(self.dtype)], 1)
        hidden, places = run_packed(self.model, front, own, mask[:, lead:], prompt)
        return hidden, F.pad(places, (lead, 0))

    def shared_front(self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, lead: int) -> Tensor:
        """Return the embedded first ``lead`` columns without pruned tokens, (1, m, d)."""
        if not lead:
            return x.new_zeros(1, 0, x.shape[2], dtype=self.dtype)
        ids, real, slots, read = (
            part[:1, :lead] for part in (batch.input_ids, batch.mask, batch.slots, batch.readout_mask)
        )
        one = Batch(ids, real, slots, read, batch.labels[:1], batch.task_ids[:1], x[:1, :lead])
        return self.fill_slots(one, one.embeddings, prompt)[:, mask[0, :lead]]

    def run_shared_prompt(self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, lead: int) -> Tensor:
        """Return hidden states (B, T - lead, d) after the first ``lead`` columns, which run once per batch."""
        past = prompt.past
        front = self.shared_front(batch, x, mask, prompt, lead)
        m = front.shape[1]
        gathered: dict[int, tuple[Tensor, Tensor]] = {}
        trunk = self.model.base_model
        if m:
            positions = torch.arange(past, past + m, device=x.device)[None]
            trunk(
                inputs_embeds=front,
                position_ids=positions,
                use_cache=False,
                collect_kv=gathered,
                **kv_kwargs(prompt),
            )
        prefix: Any = gathered
        if own_prefix := kv_kwargs(prompt):
            prefix = join_key_values(own_prefix["prompt_kv"], gathered) if m else own_prefix["prompt_kv"]
        own = mask[:, lead:]
        positions = (own.long().cumsum(1) - 1).clamp(min=0) + past + m
        states: Tensor = trunk(
            inputs_embeds=x[:, lead:].to(self.dtype), attention_mask=own, position_ids=positions, use_cache=False,
            **({"prompt_kv": prefix} if m or past else {}),
        ).last_hidden_state  # fmt: skip
        return states

    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...], lead: str = " ") -> Readout:
        """Return the label words' rows of the frozen output embedding: no other logit is computed."""
        return self._make_readout(assign_label_tokens(self.tokeniser, words, lead), words)

    def _make_readout(self, ids: list[int] | slice, words: tuple[str, ...]) -> Readout:
        head, config = self.model.get_output_embeddings(), self.model.config
        bias = None if head.bias is None else head.bias[ids].float()
        scale = getattr(self.model, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)  # Cohere, Granite
        softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2
        return Readout(head.weight[ids].float(), bias, scale, False, words, softcap)
