"""Encoder-decoders: the answer is the decoder's first token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ptviz.backbones.base import Backbone, Readout, kv_kwargs, select_hidden
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
        start = self.model.config.decoder_start_token_id
        first = torch.full((len(x), 1), self.pad_id if start is None else start, device=x.device)
        # Encoder and decoder are called separately, so that logits of the whole vocabulary are not computed.
        encoded = self.model.get_encoder()(
            inputs_embeds=self.fill_slots(batch, x, prompt), attention_mask=mask, **kv_kwargs(prompt), **keywords
        ).last_hidden_state
        out = self.model.get_decoder()(
            input_ids=first, encoder_hidden_states=encoded, encoder_attention_mask=mask, use_cache=False,
            **kv_kwargs(prompt), **keywords,
        )  # fmt: skip
        states = select_hidden(getattr(out, "hidden_states", None), lambda state: state[:, 0])
        return out.last_hidden_state[:, 0], states

    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...]) -> Readout:
        """Return the label words' rows of the output embedding, at T5's scale if embeddings are tied."""
        ids = assign_label_tokens(self.tokeniser, words)
        head = self.model.get_output_embeddings()
        config = self.model.config
        scale = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0
        bias = getattr(self.model, "final_logits_bias", None)  # BART
        return Readout(head.weight[ids].float(), None if bias is None else bias[0, ids].float(), scale, False, words)
