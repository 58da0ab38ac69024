"""Encoder-decoders: the answer is the decoder's first token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ptviz.backbones.base import Backbone, Readout, kv_kwargs, select_hidden, shift_right
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.prompt import Batch, Prompt


class EncoderDecoderBackbone(Backbone):
    """T5-style models: input prompts enter the encoder, key-value prompts reach all attention sites."""

    family = "encoder-decoder"
    readout_mode = "first"

    def compute_answer_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, **keywords: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the decoder's last hidden state at its start token."""
        places, states = self._decode(batch, x, mask, prompt, self._start_column(len(x)), **keywords)
        return places[:, 0], states

    def compute_target_states(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, targets: Tensor, *,
        every: bool = False, **keywords: Any,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the decoder's last hidden states at its start token and the target tokens but the last; (B, U, d)."""
        start = int(self._start_column(1))
        return self._decode(batch, x, mask, prompt, shift_right(targets, start), every, **keywords)

    def _start_column(self, rows: int) -> Tensor:
        start = self.model.config.decoder_start_token_id
        return torch.full((rows, 1), self.pad_id if start is None else start, device=self.device)

    def _decode(
        self, batch: Batch, x: Tensor, mask: Tensor, prompt: Prompt, ids: Tensor, every: bool = False,
        **keywords: Any,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        # Encoder and decoder are called separately, so that logits of the whole vocabulary are not computed.
        encoded = self.model.get_encoder()(
            inputs_embeds=self.fill_slots(batch, x, prompt), attention_mask=mask, **kv_kwargs(prompt), **keywords
        ).last_hidden_state
        out = self.model.get_decoder()(
            input_ids=ids, encoder_hidden_states=encoded, encoder_attention_mask=mask, use_cache=False,
            **kv_kwargs(prompt), **keywords,
        )  # fmt: skip
        states = select_hidden(getattr(out, "hidden_states", None), lambda state: state if every else state[:, 0])
        return out.last_hidden_state, states

    def make_vocabulary_readout(self) -> Readout:
        """Return the whole output embedding, at T5's scale if embeddings are tied."""
        return self._make_readout(slice(None), ())

    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...], lead: str = " ") -> Readout:
        """Return the label words' rows of the output embedding, at T5's scale if embeddings are tied."""
        return self._make_readout(assign_label_tokens(self.tokeniser, words), words)

    def _make_readout(self, ids: list[int] | slice, words: tuple[str, ...]) -> Readout:
        config = self.model.config
        scale = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0
        bias = getattr(self.model, "final_logits_bias", None)  # BART
        weight = self.model.get_output_embeddings().weight[ids].float()
        return Readout(weight, None if bias is None else bias[0, ids].float(), scale, False, words)
