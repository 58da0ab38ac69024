"""The logit lens: the most likely word at each prompt token and layer, coloured by its probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.heatmap import SEQUENTIAL
from ptviz.figures.style import add_note, colour_bar, empty_figure, escape_text


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
    figure.add_heatmap(
        z=shares[..., 0].astype(np.float32),
        zmin=0,
        zmax=max(float(shares[..., 0].max()), 1e-6),
        colorscale=SEQUENTIAL,
        text=[[escape_text(cell[0], 10) for cell in layer] for layer in words],
        texttemplate="%{text}",
        hovertext=hover,
        name="probability",
        colorbar=colour_bar("probability", tickformat=".0%" if shares[..., 0].max() > 0.05 else ".2%"),
        hovertemplate="layer %{y}, token %{x}<br>%{hovertext}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": "prompt token"}, "dtick": 1, "showgrid": False, "zeroline": False},
        yaxis={
            "title": {"text": "after layer (0: the input)"},
            "tickformat": "d",
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def describe_logit_lens(words: Sequence[Sequence[Sequence[str]]], shares: Float[np.ndarray, "layers m top"]) -> str:
    """Describe the most likely words after the last layer."""
    if not shares.size:
        return "No prompt token to read."
    last = ", ".join(
        f"token {i}: {cell[0]} ({share:.0%})"
        for i, (cell, share) in enumerate(zip(words[-1], shares[-1, :, 0].tolist(), strict=True))
    )
    return f"Most likely word at each prompt token after the last of {len(words) - 1} layers: {last}."
