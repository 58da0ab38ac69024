"""Attention and logit lens of generated tokens, from one forward pass over the input and the generated text.

The text is generated greedily first. Then one forward pass over the input and the generated tokens gives everything: a
position predicts the token after it, so the first generated token belongs to the last token of the input, or to the
start token of an encoder-decoder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ptviz.backbones.logit_lens import target_logit_lens
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.probes.array_codec import encode_array
from ptviz.probes.attention import MAX_WEIGHTS, prompt_token_names, site_name
from ptviz.probes.logit_lens import TOP_WORDS
from ptviz.prompt import NO_TARGET, Batch, Prompt
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.run_file_io import StoreError
from ptviz.training.task_outputs import generate_token_ids


@torch.no_grad()
def measure_generated_tokens(
    loaded: LoadedPrompt, model_cache: ModelCache, text: str = "", row: int = 0
) -> dict[str, Any]:
    """Return attention and logit lens of what a prompt writes for ``text``, or for validation example ``row``.

    Returns:
        ``{"tokens": [U generated tokens], "prompt": [m names], "weights": (S, N, U, m) as text, "shape", "sites": [S
        names], "words": (layers, U, TOP), "shares": (layers, U, TOP), "written", "text"}``. The sites are those where
        generated tokens attend to the prompt; weights are NaN for prompt tokens that a site does not see. The likely
        words and their probabilities run from the input to the last layer. ``ptviz.probes.array_codec.decode_array``
        reads the weights.

    Raises:
        StoreError: if the task is not text-to-text, nothing is written, the method has no prompt token to attend to,
            or the answer would be too large.
        ValueError: if ``text`` has not one part for each field of the task.
    """
    task = loaded.subsampled_task()
    if task.kind != "text":
        raise StoreError(f"expected a text-to-text task; {task.title} has answers to choose from")
    example = task.split_text(text) if text else task.validation[min(row, len(task.validation) - 1)]
    data = loaded.encode(task, [example])
    (ids,) = generate_token_ids(loaded.method, data)
    if not ids:
        raise StoreError("with this prompt the text ends before its first token: choose another input or step")
    batch = replace(data.make_batch([0]), targets=torch.tensor([ids], device=loaded.backbone.device))
    prompt: Prompt = loaded.method(batch)
    past = prompt.past
    slots = int(batch.slots.sum())
    if not past + slots:
        raise StoreError("this method has no prompt token to attend to")
    collected = _AttentionCollector(loaded, batch, past)
    tokeniser = loaded.backbone.tokeniser
    layers = [
        logits[: len(ids)].softmax(-1).topk(TOP_WORDS, -1)
        for logits in target_logit_lens(loaded.backbone, collected.batch, prompt, data.readout, collected.on_attention)
    ]
    stacked = torch.stack([collected.weights[site] for site in sorted(collected.weights)]).cpu().numpy()
    return {
        "tokens": _names(tokeniser, ids),
        "prompt": prompt_token_names(past, slots),
        "weights": encode_array(stacked),
        "shape": list(stacked.shape),
        "sites": [collected.names[site] for site in sorted(collected.names)],
        "words": [[_names(tokeniser, one) for one in top.indices.tolist()] for top in layers],
        "shares": [top.values.tolist() for top in layers],
        "written": str(tokeniser.decode(ids, skip_special_tokens=True)).strip(),
        "text": example.text,
    }


def _names(tokeniser: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Return the tokens as text; a head that is padded beyond the last token may choose an id without one."""
    found = zip(ids, tokeniser.convert_ids_to_tokens(ids), strict=True)
    return [f"<{one}>" if token is None else readable_token(token) for one, token in found]


class _AttentionCollector:
    """Keeps the attention of generated tokens on the prompt, ``weights`` (N, U, m) by site, from one forward pass."""

    def __init__(self, loaded: LoadedPrompt, batch: Batch, past: int) -> None:
        assert batch.targets is not None
        self.backbone, self.past = loaded.backbone, past
        self.written, self.width = batch.targets.shape[1], batch.input_ids.shape[1]
        self.slots = batch.slots[0]
        self.joined = loaded.backbone.family == "decoder"
        targets = batch.targets
        if not self.joined and self.written == self.width:
            # Sites are recognised by their lengths. A causal decoder does not see one position more at the end.
            targets = torch.cat([targets, targets.new_full((1, 1), NO_TARGET)], 1)
        self.batch = replace(batch, targets=targets)
        self.weights: dict[int, Tensor] = {}
        self.names: dict[int, str] = {}

    def on_attention(self, site: int, weights: Float[Tensor, "1 N queries keys"]) -> None:
        """Keep what a site's generated tokens give to the prompt, if they see any of it."""
        found, own = weights[0].float(), weights.shape[3] - self.past
        if self.joined:
            # The last token of the input predicts the first one that is written.
            first = int(self.batch.readout_mask[0].long().argmax())
            found = torch.cat([found[:, first : first + 1], found[:, self.width :]], 1)
        elif weights.shape[2] == self.width:
            return  # The encoder writes nothing.
        found, sees_input = found[:, : self.written], self.joined or own == self.width
        if not self.past + (int(self.slots.sum()) if sees_input else 0):
            return
        if found.shape[0] * self.written * (self.past + int(self.slots.sum())) * self.backbone.sites > MAX_WEIGHTS:
            raise StoreError("these attention maps are too large to show; use a shorter text")
        on_input = found[..., self.past :][..., : self.width][..., self.slots] if sees_input else None
        if on_input is None:
            on_input = found.new_full((*found.shape[:2], int(self.slots.sum())), torch.nan)
        self.weights[site] = torch.cat([found[..., : self.past], on_input], -1)
        self.names[site] = site_name(self.backbone, site, False, sees_input)
