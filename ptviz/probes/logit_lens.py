"""What the frozen head reads at the prompt's places, layer by layer, as the worker sends it to a page."""

from __future__ import annotations

from typing import Any

from ptviz.backbones.logit_lens import blind, lens
from ptviz.engine.loaded_prompt import Opened
from ptviz.engine.model_cache import Warm
from ptviz.probes.routing import encoded
from ptviz.runs.embedding_table import readable
from ptviz.tasks import Row
from ptviz.training.evaluation import limited

TOP = 5


def read_prompt(at: Opened, warm: Warm, text: str = "", row: int = 0) -> dict[str, Any]:
    """The likeliest words at each prompt token and layer, on one text: the logit lens (``ptviz.backbones.logit_lens``).

    Without a text, it is read on the validation text at place ``row``.

    Returns:
        ``{"words": (layers, m, TOP), "shares": (layers, m, TOP), "text"}``, from the input to the last layer; or
        ``{"refused"}``, a sentence for a person, where there is nothing to read or no head to read it with.
    """
    task = limited(at.task, at.config.training)
    chosen = Row(text, 0) if text else task.validation[min(row, len(task.validation) - 1)]
    data = encoded(at, task, [chosen])
    batch = data.batch([0])
    prompt = at.method(batch)
    columns = batch.slots[0].nonzero()[:, 0].tolist()
    if not columns:
        return {
            "refused": "This prompt is made of keys and values inside the backbone: it has no place in the input, so "
            "there is no state to read."
        }
    if why := blind(at.backbone):
        return {"refused": why}
    logits = lens(at.backbone, batch, prompt, data.readout, columns)
    # Tables are often padded beyond the last token that has a name.
    shares, ids = logits[..., : len(at.backbone.tokeniser)].softmax(-1).topk(TOP, -1)
    names = at.backbone.tokeniser.convert_ids_to_tokens
    return {
        "words": [[[readable(token) for token in names(one)] for one in layer] for layer in ids.tolist()],
        "shares": shares.tolist(),
        "text": chosen.text,
    }
