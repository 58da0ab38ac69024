"""Attention on the prompt: by site, by site and head, by prompt token, and from each text token."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.attention import PromptMass, site_word
from ptviz.figures.elements import (
    TOP_DOWN,
    add_line,
    add_note,
    add_points,
    axis,
    cell_axis,
    empty_figure,
    named_ticks,
)
from ptviz.figures.heatmap import add_cells
from ptviz.figures.style import FROZEN, GREEN, GREY, PROMPT, escape_text

_MAX_HEIGHT = 900
_SAME_LINE = 0.005
"""Shares of attention that differ by less are one line to the eye; they come in half precision."""


def draw_attention_mass(mass: PromptMass, sites: Sequence[str], picked: Collection[int] = ()) -> go.Figure:
    """Draw the attention mass on the prompt at each site: of the answer, of its heads, and of the text tokens.

    ``picked`` prompt tokens get their own line: the answer's attention on all of them.
    """
    figure = empty_figure(
        320,
        xaxis=axis("layer" if site_word(sites) == "layer" else "attention site", **axis_ticks(sites)),
        yaxis=axis("attention on the prompt", zeroline=None, tickformat=".0%", rangemode="tozero"),
    )
    if not mass.answer.size:
        return add_note(figure, "No attention to show yet.")
    positions, heads = list(range(len(sites))), mass.answer.shape[1]
    text = [f"head {head}" for _ in positions for head in range(heads)]
    more = {"text": text, "marker_size": 5, "marker_opacity": 0.35}
    x = np.repeat(positions, heads)
    add_points(figure, x, mass.answer.ravel(), "answer, one head", "%{text}: %{y:.1%}", **more)
    answer, text_tokens = mass.answer.mean(1), mass.text.mean(1)
    lines = [("answer", answer, PROMPT, "solid"), ("text tokens", text_tokens, FROZEN, "dash")]
    if np.allclose(answer, text_tokens, rtol=0, atol=_SAME_LINE, equal_nan=True):
        # An encoder whose answer is the mean over its tokens: one line, not two of which one is hidden.
        lines = [("answer (the mean of the text tokens)", answer, PROMPT, "solid")]
    lines.append(("uniform attention", mass.uniform, GREY, "dot"))
    if picked:
        lines.append(("answer, highlighted tokens", mass.by_site[:, sorted(picked)].sum(1), GREEN, "dashdot"))
    for name, values, colour, dash in lines:
        mode = "lines" if name == "uniform attention" else "lines+markers"
        add_line(
            figure, positions, values, name, f"{name}: %{{y:.1%}}", colour, line_dash=dash, line_width=2, mode=mode
        )
    return figure


def describe_attention_mass(mass: PromptMass, sites: Sequence[str]) -> str:
    """Describe the answer's attention mass on the prompt: lowest, highest and mean over sites."""
    means = mass.answer.mean(1) if mass.answer.size else np.zeros(0)
    there = np.flatnonzero(~np.isnan(means))
    if not len(there):
        return "Attention on the prompt by site: nothing to show yet."
    low, high = there[means[there].argmin()], there[means[there].argmax()]
    word = site_word(sites)
    return (
        f"Attention of the answer on the prompt, by {word}: lowest {means[low]:.0%} at {word} {sites[low]}, highest "
        f"{means[high]:.0%} at {word} {sites[high]}, {means[there].mean():.0%} on average; uniform attention would be "
        f"{np.nanmean(mass.uniform):.0%}."
    )


def draw_attention_heatmap(
    values: Float[np.ndarray, "rows columns"],
    rows: str,
    columns: str,
    row_names: Sequence[str],
    column_names: Sequence[str],
) -> go.Figure:
    """Draw attention weights (0 to 1) as a heat map; ``rows`` and ``columns`` are the titles of the axes."""
    figure = empty_figure(int(min(120 + 22 * max(len(values), 4), _MAX_HEIGHT)))
    if not values.size or np.isnan(values).all():
        return add_note(figure, "No attention here: this site has no such token, or cannot attend to the prompt.")
    # Names go into the text of each cell: in the hover template, "%{" of an untrusted word would be a placeholder.
    shown = [f"{columns} {escape_text(column, 30)}" for column in column_names]
    text = [[f"{escape_text(row, 30)}, {column}" for column in shown] for row in row_names]
    ends = 0.0, float(np.nanmax(values)) or 1.0
    more = {"text": text, "hoverongaps": False}
    add_cells(figure, values, "attention", "%{text}: %{z:.2%}", ends, tickformat=".1%", **more)
    down = cell_axis(rows, **TOP_DOWN, **axis_ticks(row_names))
    return figure.update_layout(xaxis=cell_axis(columns, **axis_ticks(column_names)), yaxis=down)


def describe_attention_heatmap(
    values: Float[np.ndarray, "rows columns"],
    rows: str,
    columns: str,
    row_names: Sequence[str],
    column_names: Sequence[str],
) -> str:
    """Describe the heat map: its size and its largest weight."""
    if not values.size or np.isnan(values).all():
        return f"Attention by {rows} and {columns}: nothing to show here."
    row, column = divmod(int(np.nanargmax(values)), values.shape[1])
    return (
        f"Attention by {rows} ({len(values)}) and {columns} ({values.shape[1]}): most, {values[row, column]:.1%}, at "
        f"{rows} {row_names[row]}, {columns} {column_names[column]}."
    )


def axis_ticks(names: Sequence[str], most: int = 40) -> dict[str, object]:
    """Return an axis with a name at each position, or at every second, third, ... if there are many."""
    return named_ticks(names, 18, every=max(1, -(-len(names) // most)))
