"""Public figures of the tokens that are generated with a prompt: their attention on the prompt, and the logit lens."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.attention import attention_given
from ptviz.figures.logit_lens import describe_logit_lens, draw_logit_lens
from ptviz.plots.alt_text import with_alt
from ptviz.plots.attention import draw_token_heatmap
from ptviz.plots.probe_answers import Answer, measure
from ptviz.plots.run_argument import PromptOrId
from ptviz.probes.array_codec import decode_array
from ptviz.profanity import mask_words


def plot_generated_attention(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    site: int | None = None,
    head: int | None = None,
    without_largest: bool = False,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the attention that each token of the generated text (row) gives to each prompt token (column).

    The prompt of a text-to-text task generates greedily for ``text``, or for the validation input number ``row``. The
    attention of a token is that of the position where it was chosen. ``site`` and ``head`` select one of each, among
    the sites where generated tokens attend to the prompt; None averages over all of them.

    ``without_largest`` leaves the prompt token blank that gets most, so that the others differ in colour. In a decoder
    this is often the first position, whatever it holds: an attention sink (Xiao et al. 2024, section 3.1,
    https://arxiv.org/abs/2309.17453).
    """
    found = _measure(answer, prompt, stage, step, text, row, task)
    values = attention_given(decode_array(found["weights"], found["shape"]), site, head)
    if without_largest and not np.isnan(values).all():
        values = values.copy()
        values[:, np.nansum(values, 0).argmax()] = np.nan
    return draw_token_heatmap(values, "generated token", mask_words(found["tokens"]), found["prompt"], highlight)


def plot_generated_lens(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the likeliest tokens that the frozen head reads after each layer (row), for each generated token (column).

    The logit lens (nostalgebraist 2020) applies the backbone's last norm and head to the hidden states that predict
    each generated token; the last layer's likeliest token is the one that was generated.
    """
    found = _measure(answer, prompt, stage, step, text, row, task)
    shares, tokens = np.array(found["shares"]), mask_words(found["tokens"])
    words = [[mask_words(cell) for cell in layer] for layer in found["words"]]
    return with_alt(draw_logit_lens(words, shares, tokens), describe_logit_lens(words, shares, tokens))


def _measure(
    answer: Answer | None, prompt: PromptOrId, stage: int, step: int | None, text: str, row: int, task: str
) -> Answer:
    return measure(answer, prompt, "written", stage=stage, step=step, task=task, text=text, row=row)
