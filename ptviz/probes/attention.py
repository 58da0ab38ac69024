"""Attention weights on the prompt from one real forward pass, as the worker sends them to a page."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.backbones import Backbone
from ptviz.probes.array_codec import encode_array
from ptviz.prompt import Batch, Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.embedding_table import readable_token
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples, make_task_readout

_MAX_WEIGHTS = 16_000_000
"""Weights in one answer: 32 MB. Beyond it the text is too long, or the prompt too large, for a page."""


def measure_attention(
    backbone: Backbone, task: Task, method: nn.Module, m: int, length: int, row: Example
) -> dict[str, Any]:
    """What the tokens of one text and the answer give to each prompt token, at every site and head.

    Returns:
        ``{"weights": (S, N, Q, m) as text, "shape", "tokens": [Q - 1], "prompt": [m names], "sites": [S names],
        "others": [S], "kept": [S], "text", "reading"}``; the answer is the last of the Q givers. NaN where a site
        has no such giver, or does not see the prompt; ``kept`` counts the prompt tokens that a site sees, ``others``
        its other keys. ``ptviz.probes.array_codec.decode_array`` reads the weights.

    Raises:
        StoreError: if the method puts no token before the attention, or the answer would be too large.
    """
    rows = EncodedExamples(backbone, task, [row], m, length, make_task_readout(backbone, task))
    batch = rows.make_batch([0])
    prompt: Prompt = method(batch)
    past = 0 if prompt.key_values is None else prompt.key_values.shape[-2]
    slots = int(batch.slots.sum())
    width, givers = batch.mask.shape[1], int(batch.text_mask.sum()) + 1
    if not past + slots:
        raise StoreError("this method puts no prompt token before the attention, so none gets any of it")
    seen: dict[int, Tensor] = {}
    names: dict[int, str] = {}
    others: dict[int, int] = {}
    kept: dict[int, int] = {}
    live = slots if prompt.keep is None else int(prompt.keep.sum())

    def visit(site: int, weights: Tensor) -> None:
        if weights.shape[1] * givers * (past + slots) * backbone.sites > _MAX_WEIGHTS:
            raise StoreError("these attention maps are too large to show; look at a shorter text")
        seen[site] = _attention_to_prompt(weights[0].float(), batch, past)
        of_text, sees_text = weights.shape[2] == width, weights.shape[3] - past == width
        others[site] = weights.shape[3] - past - (slots if sees_text else 0)
        kept[site] = past + (live if sees_text else 0)
        names[site] = _site_name(backbone, site, of_text, sees_text)

    backbone(batch, prompt, rows.readout, visit=visit)
    stacked = torch.stack([seen[site] for site in sorted(seen)]).cpu().numpy()
    ids = batch.input_ids[0][batch.text_mask[0]].tolist()
    kinds = [("kv ", past), ("", slots)] if past and slots else [("", past + slots)]
    return {
        "weights": encode_array(stacked),
        "shape": list(stacked.shape),
        "tokens": [readable_token(token) for token in backbone.tokeniser.convert_ids_to_tokens(ids)],
        "prompt": [f"{kind}{place}" for kind, count in kinds for place in range(count)],
        "sites": [names[site] for site in sorted(names)],
        "others": [others[site] for site in sorted(others)],
        "kept": [kept[site] for site in sorted(kept)],
        "text": row.text,
        "reading": backbone.readout_mode,
    }


def _attention_to_prompt(
    weights: Float[Tensor, "N queries keys"], batch: Batch, past: int
) -> Float[Tensor, "N givers m"]:
    """The columns of the prompt and the rows of the text and of the answer; NaN for what this site does not have."""
    slots, text, read = batch.slots[0], batch.text_mask[0], batch.readout_mask[0]
    found = weights[..., :past]
    if weights.shape[-1] - past == len(slots):
        found = torch.cat([found, weights[..., past:][..., slots]], -1)
    elif int(slots.sum()):
        # A decoder's own keys: the prompt that entered the encoder is not among them.
        found = torch.cat([found, found.new_full((*found.shape[:-1], int(slots.sum())), torch.nan)], -1)
    nothing = found.new_full((len(found), 1, found.shape[-1]), torch.nan)
    if found.shape[1] != len(slots):  # a decoder's first token: the answer, and no text
        return torch.cat([nothing.expand(-1, int(text.sum()), -1), found[:, -1:]], 1)
    # A pooled sentence is the mean over the tokens that are read; elsewhere one token is.
    answer = found[:, read].mean(1, keepdim=True) if bool(read.any()) else nothing
    return torch.cat([found[:, text], answer], 1)


def _site_name(backbone: Backbone, site: int, of_text: bool, sees_text: bool) -> str:
    if backbone.family != "encoder-decoder":
        return str(site)
    return f"{site} encoder" if of_text else f"{site} cross" if sees_text else f"{site} decoder"
