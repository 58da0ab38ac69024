"""Attention on the prompt: by site, by head, by prompt token, by token of the text; and the logit lens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.attention import PromptMass, attention_given, prompt_mass, site_word
from ptviz.figures import attention as drawn
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.figures.logit_lens import describe_logit_lens, draw_logit_lens
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer, measure, probe
from ptviz.plots.run_argument import PromptOrId
from ptviz.probes.array_codec import decode_array
from ptviz.profanity import mask_words
from ptviz.runs import StoreError

_TOKEN = "prompt token"


@dataclass(frozen=True, eq=False)
class PromptAttention:
    """The attention weights of one text on the prompt, the share that the prompt gets, and the names of both axes."""

    weights: Float[np.ndarray, "sites heads tokens m"]
    mass: PromptMass
    sites: list[str]
    tokens: list[str]
    prompt: list[str]

    @classmethod
    def from_answer(cls, answer: Answer) -> PromptAttention:
        """Decode the answer of ``ptviz.probes.attention.measure_attention``."""
        weights = decode_array(answer["weights"], answer["shape"])
        mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))
        return cls(weights, mass, answer["sites"], answer["tokens"], answer["prompt"])


def plot_attention_mass(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the share of the answer's attention that goes to the whole prompt, site by site, with one dot per head.

    The text is ``text``, or the validation text number ``row``; ``task`` is the task of a saved prompt. ``highlight``
    adds a line for some prompt tokens.
    """
    found = _measure(answer, prompt, stage, step, text, row, task)
    figure = drawn.draw_attention_mass(found.mass, found.sites, highlight)
    return with_alt(figure, drawn.describe_attention_mass(found.mass, found.sites))


def plot_attention_heads(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the share of the answer's attention that each head (column) of each site (row) gives to the prompt."""
    found = _measure(answer, prompt, stage, step, text, row, task)
    values = found.mass.answer
    names = site_word(found.sites), "head", found.sites, [str(head) for head in range(values.shape[1])]
    figure = drawn.draw_attention_heatmap(values, *names)
    return with_alt(figure, drawn.describe_attention_heatmap(values, *names))


def plot_attention_by_site(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the answer's attention on each prompt token (column) at each site (row), averaged over the heads."""
    found = _measure(answer, prompt, stage, step, text, row, task)
    return draw_token_heatmap(found.mass.by_site, site_word(found.sites), found.sites, found.prompt, highlight)


def plot_attention(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    site: int | None = None,
    head: int | None = None,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the attention that each token of the text, and the answer last, gives to each prompt token (column).

    ``site`` and ``head`` select one of each; None averages over all of them.
    """
    found = _measure(answer, prompt, stage, step, text, row, task)
    values = attention_given(found.weights, site, head)
    return draw_token_heatmap(values, "token", [*mask_words(found.tokens), "answer"], found.prompt, highlight)


def _measure(
    answer: Answer | None, prompt: PromptOrId, stage: int, step: int | None, text: str, row: int, task: str
) -> PromptAttention:
    return PromptAttention.from_answer(
        probe(answer, prompt, "attention", stage=stage, step=step, task=task, text=text, row=row)
    )


def draw_token_heatmap(
    values: Float[np.ndarray, "rows m"], rows: str, row_names: list[str], tokens: list[str], highlight: Collection[int]
) -> go.Figure:
    """Draw a heat map with one column per prompt token, which can be picked."""
    names = rows, _TOKEN, row_names, tokens
    figure = make_pickable(drawn.draw_attention_heatmap(values, *names), range(len(tokens)), columns=True)
    return with_alt(dim_cells(figure, (), highlight), drawn.describe_attention_heatmap(values, *names))


def plot_logit_lens(
    prompt: PromptOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    text: str = "",
    row: int = 0,
    task: str = "",
    first_token: int = 0,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the likeliest words that the frozen head reads at each prompt token (column) after each layer (row).

    The logit lens (nostalgebraist 2020) applies the backbone's last norm and head to hidden states. ``first_token`` is
    the number of the first prompt token at the input; keys and values, which come before it, have no hidden state.
    """
    found = measure(answer, prompt, "lens", stage=stage, step=step, task=task, text=text, row=row)
    if "refused" in found:
        raise StoreError(found["refused"])
    shares, words = np.array(found["shares"]), [[mask_words(cell) for cell in layer] for layer in found["words"]]
    numbers = range(first_token, first_token + shares.shape[1])
    bright = [i for i, number in enumerate(numbers) if number in highlight]
    figure = make_pickable(draw_logit_lens(words, shares), numbers, columns=True)
    return with_alt(dim_cells(figure, (), bright), describe_logit_lens(words, shares))
