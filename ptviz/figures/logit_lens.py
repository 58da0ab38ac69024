"""The logit lens: the most likely word at each prompt token and layer, coloured by its probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.attention import axis_ticks
from ptviz.figures.elements import add_note, cell_axis, empty_figure
from ptviz.figures.heatmap import add_cells
from ptviz.figures.style import escape_text


def draw_logit_lens(
    words: Sequence[Sequence[Sequence[str]]], shares: Float[np.ndarray, "layers m top"], written: Sequence[str] = ()
) -> go.Figure:
    """Draw one row per layer, the last on top, and one column per prompt token; other likely words are shown on hover.

    ``words`` and ``shares`` hold the ``top`` most likely words and their probabilities (0 to 1). With ``written``
    tokens, the columns are the positions where these were chosen.
    """
    figure = empty_figure(int(min(120 + 24 * max(len(words), 4), 900)))
    if not shares.size:
        return add_note(figure, "No prompt token to read.")
    hover = [
        [
            "<br>".join(f"{escape_text(_visible(word), 24)} {share:.1%}" for word, share in zip(cell, row, strict=True))
            for cell, row in zip(layer, table, strict=True)
        ]
        for layer, table in zip(words, shares.tolist(), strict=True)
    ]
    if written:  # The names of the columns are shortened.
        names = [escape_text(token, 24) for token in written]
        hover = [[f"written: {name}<br>{cell}" for name, cell in zip(names, row, strict=True)] for row in hover]
    text = [[escape_text(_visible(cell[0]), 10) for cell in layer] for layer in words]
    largest = float(shares[..., 0].max())
    look = {"tickformat": ".0%" if largest > 0.05 else ".2%", "text": text, "texttemplate": "%{text}"}
    template = "layer %{y}, token %{x}<br>%{hovertext}"
    add_cells(figure, shares[..., 0], "probability", template, (0, max(largest, 1e-6)), hovertext=hover, **look)
    ticks = {**axis_ticks(written), "automargin": True} if written else {"dtick": 1}
    up = cell_axis("after layer (0: the input)", tickformat="d")
    return figure.update_layout(xaxis=cell_axis("generated token" if written else "prompt token", **ticks), yaxis=up)


def describe_logit_lens(
    words: Sequence[Sequence[Sequence[str]]], shares: Float[np.ndarray, "layers m top"], written: Sequence[str] = ()
) -> str:
    """Describe the most likely words after the last layer; of ``written`` tokens, from which layer on each leads."""
    if not shares.size:
        return "No prompt token to read."
    if written:
        found = ", ".join(
            f"{token} from layer {_leads_from(words, i, token)}" if words[-1][i][0] == token else f"{token} after none"
            for i, token in enumerate(written)
        )
        return f"The layer from which on each generated token is the likeliest, of {len(words) - 1} layers: {found}."
    last = ", ".join(
        f"token {i}: {cell[0]} ({share:.0%})"
        for i, (cell, share) in enumerate(zip(words[-1], shares[-1, :, 0].tolist(), strict=True))
    )
    return f"Most likely word at each prompt token after the last of {len(words) - 1} layers: {last}."


def _visible(word: str) -> str:
    """Return the word; one of spaces alone with a sign for each, since its cell would look empty."""
    return word if word.strip() else "␣" * len(word)


def _leads_from(words: Sequence[Sequence[Sequence[str]]], column: int, token: str) -> int:
    """Return the first layer after which, and after all later ones, the token is the most likely."""
    layer = len(words) - 1
    while layer and words[layer - 1][column][0] == token:
        layer -= 1
    return layer
