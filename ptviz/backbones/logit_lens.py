"""The logit lens: the words that a frozen language-model head predicts from intermediate hidden states.

nostalgebraist, "interpreting GPT: the logit lens", 2020,
https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.backbones.base import Backbone, Readout
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.prompt_attention import AttentionCallback
from ptviz.prompt import Batch, Prompt

_FINAL_NORM_PATHS = ("norm", "ln_f", "final_norm", "final_layer_norm", "decoder.final_layer_norm", "decoder.layer_norm")
"""Attribute paths of the norm between the last layer and the head, by family."""


def logit_lens(
    backbone: Backbone, batch: Batch, prompt: Prompt, readout: Readout, columns: Sequence[int]
) -> Float[Tensor, "layer n V"]:
    """Return logits over the vocabulary at some columns of one row, from the input to the last layer.

    Each state passes the final norm and then the head, as the last one does.

    Raises:
        BackboneError: if the backbone has no head that reads these states.
    """
    if why := lens_unavailable_reason(backbone):
        raise BackboneError(why)
    n = len(columns)
    # One copy of the row for each column, with the read-out at that column.
    parts: dict[str, Tensor] = {name: part for name, part in vars(batch).items() if part is not None}
    copies = Batch(**{name: part.expand(n, *part.shape[1:]) for name, part in parts.items()})
    read = torch.zeros_like(copies.readout_mask)
    read[torch.arange(n), torch.tensor(columns)] = True
    states = backbone(replace(copies, readout_mask=read), prompt, readout, hidden=True).hidden_states
    assert states is not None
    states = _apply_final_norm(backbone, states)
    transform = getattr(backbone, "transform", nn.Identity())
    logits: Tensor = backbone.model.get_output_embeddings()(transform(states))
    return logits.float()


def target_logit_lens(
    backbone: Backbone, batch: Batch, prompt: Prompt, readout: Readout, on_attention: AttentionCallback | None = None
) -> Iterator[Float[Tensor, "U V"]]:
    """Return, layer by layer, the logits at the positions that predict the target tokens of one row.

    From the input to the last layer, all from one forward pass, whose attention weights ``on_attention`` gets. Those
    of the last layer are the backbone's own.

    Raises:
        BackboneError: if the backbone is an encoder, which generates no text, or the prompt does not fit.
        ValueError: if the batch has not one row with targets.
    """
    if len(batch) != 1 or batch.targets is None:
        raise ValueError(f"expected one row with targets; got {len(batch)} rows, targets {batch.targets is not None}")
    x, mask = backbone.shift_and_mask(batch, prompt)
    keywords: dict[str, Any] = {"output_hidden_states": True}
    if on_attention is not None:
        keywords["on_attention"] = on_attention
    _, states = backbone.compute_target_states(batch, x, mask, prompt, batch.targets, every=True, **keywords)
    assert states is not None
    # Layer by layer: the logits of all layers at once would take much memory.
    return (readout.scores(layer[0]) for layer in _apply_final_norm(backbone, states))


def _apply_final_norm(
    backbone: Backbone, states: Float[Tensor, "layer *positions d"]
) -> Float[Tensor, "layer *positions d"]:
    """Return the states as the head reads them: those of the last layer have passed the final norm already."""
    norm = _find_final_norm(backbone.model.base_model)
    return states if norm is None else torch.cat([norm(states[:-1]), states[-1:]])


def lens_unavailable_reason(backbone: Backbone) -> str:
    """Return why the head cannot read the backbone's states, as a sentence; empty if it can."""
    if backbone.readout_mode == "pooled":
        return (
            f"{backbone.title} is a sentence encoder without a language-model head, so its states cannot be read as "
            "words. Use a decoder, such as smollm2-135m, or a masked language model."
        )
    if backbone.readout_mode == "first":
        return (
            f"In {backbone.title} the prompt is in the encoder, but the head was trained on the decoder's states, so "
            "its predictions there are meaningless."
        )
    return ""


def _find_final_norm(trunk: nn.Module) -> nn.Module | None:
    """Return the norm after the last layer; None if each layer ends with its own."""
    for path in _FINAL_NORM_PATHS:
        found: object = trunk
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.Module):
            return found
    return None
