"""Prompt tokens and the vocabulary: norms with the vocabulary's quantiles, and the nearest words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from ptviz.analysis.geometry import PromptGeometry
from ptviz.analysis.neighbours import Neighbours
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE
from ptviz.figures.style import FROZEN, GREY, PROMPT, add_note, category_axis, colour_bar, empty_figure, escape_text
from ptviz.prompt_statistics import OUTLIER_FACTOR

_PALE_SCALE = [[0.0, "#FFF8F1"], [1.0, "#F2A35C"]]


def _characters_per_cell(columns: int) -> int:
    """Return how many characters of a word fit in a cell of half a page's width; the hover text has all of them."""
    return max(4, min(10, 72 // max(columns, 1)))


def draw_norms(
    found: PromptGeometry, what: str = "norms", *, numbers: Sequence[int] = (), picked: Collection[int] = ()
) -> go.Figure:
    """Draw the L2 norms of the prompt tokens, or their ``distances`` to the nearest vocabulary token.

    Bands show the same of the vocabulary, outliers have their own marker. ``numbers`` are those of the tokens, 0, 1,
    2, ... by default; if some are ``picked``, the others are dimmed.
    """
    values = found.norms if what == "norms" else found.distances
    bands = (
        None
        if found.vocabulary_stats is None
        else (found.vocabulary_stats.norm_quantiles if what == "norms" else found.vocabulary_stats.distance_quantiles)
    )
    figure = empty_figure(300)
    figure.update_layout(
        xaxis={"title": {"text": "prompt token"}, "zeroline": False},
        yaxis={
            "title": {"text": "L2 norm" if what == "norms" else "L2 distance to the nearest word"},
            "rangemode": "tozero",
        },
        hovermode="closest",
        showlegend=True,
    )
    if not len(values):
        return add_note(figure, "The first snapshot will appear here.")
    counted = np.array(numbers or range(len(values)))
    if bands is not None:
        for low, high, opacity in ((0, 4, 0.15), (1, 3, 0.25)):
            figure.add_hrect(y0=bands[low], y1=bands[high], fillcolor=FROZEN, opacity=opacity, line_width=0)
        figure.add_scatter(
            x=[counted[0], counted[-1]],
            y=[bands[2]] * 2,
            mode="lines",
            line={"color": FROZEN, "width": 1.5, "dash": "dash"},
            name="vocabulary: median, and its middle 50 % and 90 %",
            hovertemplate="vocabulary's median %{y:.3g}<extra></extra>",
        )
    odd = found.outliers
    for name, rows, symbol in (
        ("prompt tokens", ~odd, "circle"),
        (f"outliers: over {OUTLIER_FACTOR:g} times the median", odd, "x"),
    ):
        if rows.any():
            bright = np.isin(counted[rows], list(picked)) | (not picked)
            figure.add_scatter(
                x=counted[rows], y=values[rows], mode="markers", name=name,
                marker={"size": 9, "color": PROMPT, "symbol": symbol, "opacity": np.where(bright, 1.0, DIMMED_OPACITY)},
                meta=PICKABLE, customdata=counted[rows].tolist(),
                hovertemplate="token %{x}: %{y:.3g}<extra></extra>",
            )  # fmt: skip
    return figure


def describe_norms(found: PromptGeometry, what: str = "norms", *, numbers: Sequence[int] = ()) -> str:
    """Describe norms or distances: range, median, vocabulary range, outliers; ``numbers`` as in ``draw_norms``."""
    values = found.norms if what == "norms" else found.distances
    if not len(values):
        return "No prompt token yet."
    described = f"{len(values)} prompt tokens, {what} from {values.min():.3g} to {values.max():.3g}"
    described += f", median {np.median(values):.3g}"
    if found.vocabulary_stats is not None:
        bands = found.vocabulary_stats.norm_quantiles if what == "norms" else found.vocabulary_stats.distance_quantiles
        described += f"; the middle 90 % of the vocabulary lies between {bands[0]:.3g} and {bands[-1]:.3g}"
    odd = [number for number, far in zip(numbers or range(len(values)), found.outliers.tolist(), strict=True) if far]
    return described + (f". Outliers: tokens {', '.join(map(str, odd))}." if odd else ". No outlier.")


def draw_neighbours(found: Neighbours, words: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> go.Figure:
    """Draw a table of words: one row per prompt token, the nearest word first, coloured by its score.

    ``words`` are the k words of each row; ``labels`` are the names of the rows, by default their numbers.
    """
    rows, k = found.ids.shape
    figure = empty_figure(90 + 26 * max(rows, 3))
    if not rows or not k:
        return add_note(figure, "The first snapshot will appear here.")
    far, names = found.metric == "L2", labels or [str(i) for i in range(rows)]
    figure.add_heatmap(
        z=np.asarray(found.scores, dtype=np.float32),
        text=[[escape_text(word, _characters_per_cell(k)) for word in row] for row in words],
        hovertext=[
            [f"token {escape_text(name, 24)}, rank {i + 1}: {escape_text(word, 60)}" for i, word in enumerate(row)]
            for name, row in zip(names, words, strict=True)
        ],
        texttemplate="%{text}",
        # Dark words on light cells, on a light page and on a dark page.
        textfont={"size": 11, "color": "#1B2430"},
        colorscale=_PALE_SCALE,
        reversescale=far,
        xgap=2,
        ygap=2,
        name=found.metric,
        colorbar=colour_bar(found.metric),
        hovertemplate="%{hovertext}<br>" + found.metric + " %{z:.3f}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        margin={"l": 56, "r": 16, "t": 30, "b": 16},
        xaxis={
            "tickvals": list(range(k)),
            "ticktext": ["nearest", *[f"{i + 1}." for i in range(1, k)]],
            "side": "top",
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": "prompt token"},
            "tickvals": list(range(rows)),
            "ticktext": [escape_text(name, 24) for name in names],
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    )
    return figure


def describe_neighbours(found: Neighbours, words: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> str:
    """Describe the nearest words of the first prompt tokens; ``labels`` as in ``draw_neighbours``."""
    if not len(words):
        return "Nearest words: no prompt token yet."
    named = labels or [str(i) for i in range(len(words))]
    described = [f"token {name}: {', '.join(row[:3])}" for name, row in zip(named[:12], words[:12], strict=True)]
    return f"Nearest vocabulary tokens by {found.metric}. " + "; ".join(described) + "."


def draw_neighbour_overlap(steps: Sequence[int], shares: Sequence[float], at: int | None = None) -> go.Figure:
    """Draw the share (0 to 1) of the initial neighbours that are still neighbours over the steps."""
    figure = empty_figure(240)
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "zeroline": False},
        yaxis={"title": {"text": "initial neighbours kept"}, "tickformat": ".0%", "range": [0, 1.03]},
        showlegend=False,
    )
    if not steps:
        return add_note(figure, "The first snapshot will appear here.")
    figure.add_scatter(
        x=list(steps), y=list(shares), mode="lines+markers", line={"color": PROMPT, "width": 2.5},
        name="neighbours kept", hovertemplate="%{y:.0%} kept<extra></extra>",
    )  # fmt: skip
    if at is not None:
        figure.add_vline(x=steps[at], line={"color": GREY, "width": 1.5})
    return figure


def draw_nearest_words_over_steps(
    steps: Sequence[int],
    words: Sequence[Sequence[str]],
    scores: Float[np.ndarray, "m steps"],
    metric: str,
    labels: Sequence[str] = (),
    at: int | None = None,
) -> go.Figure:
    """Draw the nearest word of each prompt token (rows) at each step (columns), coloured by its score."""
    m = len(words)
    figure = empty_figure(90 + 26 * max(m, 3))
    if not m or not steps:
        return add_note(figure, "The first snapshot will appear here.")
    names = labels or [str(i) for i in range(m)]
    figure.add_heatmap(
        z=np.asarray(scores, dtype=np.float32),
        text=[[escape_text(word, _characters_per_cell(len(steps))) for word in row] for row in words],
        hovertext=[
            [
                f"token {escape_text(name, 24)}, step {step}: {escape_text(word, 60)}"
                for step, word in zip(steps, row, strict=True)
            ]
            for name, row in zip(names, words, strict=True)
        ],
        texttemplate="%{text}",
        textfont={"size": 10, "color": "#1B2430"},
        colorscale=_PALE_SCALE,
        reversescale=metric == "L2",
        xgap=2,
        ygap=2,
        name=metric,
        colorbar=colour_bar(metric),
        hovertemplate="%{hovertext}<br>" + metric + " %{z:.3f}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        margin={"l": 56, "r": 16, "t": 44, "b": 16},
        xaxis={**category_axis([str(step) for step in steps], 8), "side": "top", "title": {"text": "step"}},
        yaxis={
            **category_axis(names, 24),
            "title": {"text": "prompt token"},
            "autorange": "reversed",
            "automargin": True,
        },
    )
    if at is not None:
        figure.add_vrect(x0=at - 0.5, x1=at + 0.5, line={"color": PROMPT, "width": 2})
    return figure


def describe_nearest_words_over_steps(
    steps: Sequence[int], words: Sequence[Sequence[str]], labels: Sequence[str] = ()
) -> str:
    """Describe how the nearest words change over the steps; ``labels`` as in ``draw_neighbours``."""
    if not len(words) or not steps:
        return "Nearest word over the steps: no prompt token yet."
    changed = [i for i, row in enumerate(words) if row[0] != row[-1]]
    described = [f"token {labels[i] if labels else i} from {words[i][0]} to {words[i][-1]}" for i in changed[:12]]
    return (
        f"The nearest word of {len(words)} prompt tokens from step {steps[0]} to {steps[-1]}; it changed for "
        f"{len(changed)} of them" + (": " + "; ".join(described) if described else "") + "."
    )


def draw_neighbour_ranks(
    steps: Sequence[int],
    ranks: Int[np.ndarray, "m steps"],
    words: Sequence[str],
    *,
    numbers: Sequence[int] = (),
    picked: Collection[int] = (),
    at: int | None = None,
) -> go.Figure:
    """Draw the rank of each prompt token's final nearest word among all its neighbours over the steps; 1 is nearest."""
    figure = empty_figure(260)
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "zeroline": False},
        yaxis={"title": {"text": "rank of its final word"}, "type": "log", "autorange": "reversed", "dtick": 1},
        hovermode="closest",
        showlegend=False,
    )
    if not len(ranks) or not steps:
        return add_note(figure, "The first snapshot will appear here.")
    for i, number in enumerate(numbers or range(len(ranks))):
        figure.add_scatter(
            x=list(steps),
            y=ranks[i],
            mode="lines",
            meta=PICKABLE,
            customdata=[number] * len(steps),
            line={"color": PROMPT, "width": 2 if number in picked else 1.2},
            opacity=0.6 if not picked else 1.0 if number in picked else DIMMED_OPACITY,
            name=f"token {number}: {escape_text(words[i], 20)}",
            hovertemplate=f"token {number}, {escape_text(words[i], 20)}: rank %{{y:,}} at step %{{x}}<extra></extra>",
        )
    if at is not None:
        figure.add_vline(x=steps[at], line={"color": GREY, "width": 1.5})
    return figure


def describe_neighbour_ranks(
    ranks: Int[np.ndarray, "m steps"], words: Sequence[str], *, numbers: Sequence[int] = ()
) -> str:
    """Describe the initial ranks of the final nearest words; ``numbers`` are those of the tokens."""
    if not ranks.size:
        return "Ranks of the final nearest words: no prompt token yet."
    named = numbers or range(len(ranks))
    described = [
        f"token {number}, {word}: rank {row[0]:,}"
        for number, word, row in zip(named, words, ranks.tolist()[:12], strict=False)
    ]
    return (
        "Initial rank of the word that is nearest to each prompt token at the last step: " + "; ".join(described) + "."
    )
