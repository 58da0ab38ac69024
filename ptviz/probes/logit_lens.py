"""The logit lens at the prompt's positions, layer by layer, as the worker sends it to a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ptviz.backbones.logit_lens import lens_unavailable_reason, logit_lens
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.runs.embedding_table import readable_token

TOP_WORDS = 5


_NO_POSITION = (
    "This prompt consists of keys and values inside the backbone: it has no position in the input, so there is no "
    "state to read."
)


def lens_refusal(loaded: LoadedPrompt) -> str:
    """Return why the logit lens cannot read a prompt, "" if it can."""
    if not loaded.method.slots:
        return _NO_POSITION
    return lens_unavailable_reason(loaded.backbone) or ""


def measure_logit_lens(loaded: LoadedPrompt, model_cache: ModelCache, text: str = "", row: int = 0) -> dict[str, Any]:
    """Return the most likely words at each prompt token and layer (see ``ptviz.backbones.logit_lens``).

    Without a text, validation example ``row`` is used.

    Returns:
        ``{"words": (layers, m, TOP), "shares": (layers, m, TOP), "text"}``, from the input to the last layer; or
        ``{"refused"}``, a sentence that says why there is no result.

    Raises:
        ValueError: if the text has not one part for each field of the task.
    """
    task = loaded.subsampled_task()
    chosen = task.split_text(text) if text else task.validation[min(row, len(task.validation) - 1)]
    data = loaded.encode(task, [chosen])
    batch = replace(data.make_batch([0]), targets=None)
    prompt = loaded.method(batch)
    columns = batch.slots[0].nonzero()[:, 0].tolist()
    if not columns:
        return {"refused": _NO_POSITION}
    if why := lens_unavailable_reason(loaded.backbone):
        return {"refused": why}
    logits = logit_lens(loaded.backbone, batch, prompt, data.readout, columns)
    # Embedding tables are often padded beyond the last token.
    shares, ids = logits[..., : len(loaded.backbone.tokeniser)].softmax(-1).topk(TOP_WORDS, -1)
    names = loaded.backbone.tokeniser.convert_ids_to_tokens
    return {
        "words": [[[readable_token(token) for token in names(one)] for one in layer] for layer in ids.tolist()],
        "shares": shares.tolist(),
        "text": chosen.text,
    }
