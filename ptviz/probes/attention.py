"""Attention weights on the prompt from one forward pass, as the worker sends them to a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.backbones import Backbone
from ptviz.probes.array_codec import encode_array
from ptviz.prompt import Batch, Prompt
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.run_file_io import StoreError
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples

MAX_WEIGHTS = 16_000_000
"""Most weights in one answer (32 MB): more are too many for a page."""


def measure_attention(
    backbone: Backbone, task: Task, method: nn.Module, m: int, length: int, row: Example
) -> dict[str, Any]:
    """Return the attention of a text's tokens and of the answer on each prompt token, by site and head.

    Returns:
        ``{"weights": (S, N, Q, m) as text, "shape", "tokens": [Q - 1], "prompt": [m names], "sites": [S names],
        "others": [S], "kept": [S], "text", "reading"}``; the answer is the last of the Q queries. NaN where a site
        has no such query, or does not see the prompt; ``kept`` counts the prompt tokens that a site sees, ``others``
        its other keys. ``ptviz.probes.array_codec.decode_array`` reads the weights.

    Raises:
        StoreError: if the method has no prompt token to attend to, or the answer would be too large.
    """
    rows = EncodedExamples(backbone, task, [row], m, length)
    batch = replace(rows.make_batch([0]), targets=None)  # The answer is the first token of a generated text.
    prompt: Prompt = method(batch)
    past = prompt.past
    slots = int(batch.slots.sum())
    width, queries = batch.mask.shape[1], int(batch.text_mask.sum()) + 1
    if not past + slots:
        raise StoreError("this method has no prompt token to attend to")
    seen: dict[int, Tensor] = {}
    names: dict[int, str] = {}
    others: dict[int, int] = {}
    kept: dict[int, int] = {}
    visible = slots if prompt.keep is None else int(prompt.keep.sum())

    def on_attention(site: int, weights: Tensor) -> None:
        if weights.shape[1] * queries * (past + slots) * backbone.sites > MAX_WEIGHTS:
            raise StoreError("these attention maps are too large to show; use a shorter text")
        seen[site] = _attention_to_prompt(weights[0].float(), batch, past)
        of_text, sees_text = weights.shape[2] == width, weights.shape[3] - past == width
        others[site] = weights.shape[3] - past - (slots if sees_text else 0)
        seen_past = past if prompt.sites is None or bool(prompt.sites[site]) else 0
        kept[site] = seen_past + (visible if sees_text else 0)
        names[site] = site_name(backbone, site, of_text, sees_text)

    backbone(batch, prompt, rows.readout, on_attention=on_attention)
    stacked = torch.stack([seen[site] for site in sorted(seen)]).cpu().numpy()
    ids = batch.input_ids[0][batch.text_mask[0]].tolist()
    return {
        "weights": encode_array(stacked),
        "shape": list(stacked.shape),
        "tokens": [readable_token(token) for token in backbone.tokeniser.convert_ids_to_tokens(ids)],
        "prompt": prompt_token_names(past, slots),
        "sites": [names[site] for site in sorted(names)],
        "others": [others[site] for site in sorted(others)],
        "kept": [kept[site] for site in sorted(kept)],
        "text": row.text,
        "reading": backbone.readout_mode,
    }


def _attention_to_prompt(weights: Float[Tensor, "N queries keys"], batch: Batch, past: int) -> Float[Tensor, "N Q m"]:
    """Return the prompt's columns for the queries of the text and the answer; NaN if the site lacks them."""
    slots, text, read = batch.slots[0], batch.text_mask[0], batch.readout_mask[0]
    found = weights[..., :past]
    if weights.shape[-1] - past == len(slots):
        found = torch.cat([found, weights[..., past:][..., slots]], -1)
    elif int(slots.sum()):
        # The keys of a decoder do not include the prompt, which entered the encoder.
        found = torch.cat([found, found.new_full((*found.shape[:-1], int(slots.sum())), torch.nan)], -1)
    nothing = found.new_full((len(found), 1, found.shape[-1]), torch.nan)
    if found.shape[1] != len(slots):  # A decoder's first token is the answer; there is no text.
        return torch.cat([nothing.expand(-1, int(text.sum()), -1), found[:, -1:]], 1)
    # A pooled sentence averages several tokens; other read-outs use one token.
    answer = found[:, read].mean(1, keepdim=True) if bool(read.any()) else nothing
    return torch.cat([found[:, text], answer], 1)


def prompt_token_names(past: int, slots: int) -> list[str]:
    """Return the name of each prompt token: ``past`` that come first at every site, then ``slots`` at the input."""
    kinds = [("kv ", past), ("", slots)] if past and slots else [("", past + slots)]
    return [f"{kind}{index}" for kind, count in kinds for index in range(count)]


def site_name(backbone: Backbone, site: int, of_text: bool, sees_text: bool) -> str:
    """Return the name of an attention site: of an encoder-decoder with what its queries and keys are."""
    if backbone.family != "encoder-decoder":
        return str(site)
    return f"{site} encoder" if of_text else f"{site} cross" if sees_text else f"{site} decoder"
