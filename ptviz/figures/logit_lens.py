"""The logit lens: the most likely word at each prompt token and layer, coloured by its probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.elements import add_note, cell_axis, empty_figure
from ptviz.figures.heatmap import add_cells
from ptviz.figures.style import escape_text


def draw_logit_lens(words: Sequence[Sequence[Sequence[str]]], shares: Float[np.ndarray, "layers m top"]) -> go.Figure:
    """Draw one row per layer, the last on top, and one column per prompt token; other likely words are shown on hover.

    ``words`` and ``shares`` hold the ``top`` most likely words and their probabilities (0 to 1).
    """
    figure = empty_figure(int(min(120 + 24 * max(len(words), 4), 900)))
    if not shares.size:
        return add_note(figure, "No prompt token to read.")
    hover = [
        [
            "<br>".join(f"{escape_text(word, 24)} {share:.1%}" for word, share in zip(cell, row, strict=True))
            for cell, row in zip(layer, table, strict=True)
        ]
        for layer, table in zip(words, shares.tolist(), strict=True)
    ]
    text = [[escape_text(cell[0], 10) for cell in layer] for layer in words]
    largest = float(shares[..., 0].max())
    look = {"tickformat": ".0%" if largest > 0.05 else ".2%", "text": text, "texttemplate": "%{text}"}
    template = "layer %{y}, token %{x}<br>%{hovertext}"
    add_cells(figure, shares[..., 0], "probability", template, (0, max(largest, 1e-6)), hovertext=hover, **look)
    up = cell_axis("after layer (0: the input)", tickformat="d")
    return figure.update_layout(xaxis=cell_axis("prompt token", dtick=1), yaxis=up)


def describe_logit_lens(words: Sequence[Sequence[Sequence[str]]], shares: Float[np.ndarray, "layers m top"]) -> str:
    """Describe the most likely words after the last layer."""
    if not shares.size:
        return "No prompt token to read."
    last = ", ".join(
        f"token {i}: {cell[0]} ({share:.0%})"
        for i, (cell, share) in enumerate(zip(words[-1], shares[-1, :, 0].tolist(), strict=True))
    )
    return f"Most likely word at each prompt token after the last of {len(words) - 1} layers: {last}."
