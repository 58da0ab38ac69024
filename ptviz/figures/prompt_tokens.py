"""Prompt tokens and the vocabulary: norms with the vocabulary's quantiles, and the nearest words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from ptviz.analysis.prompt_tokens import PromptGeometry
from ptviz.figures.elements import TOP_DOWN, add_line, add_note, add_points, axis, category_axis, empty_figure
from ptviz.figures.heatmap import add_cells
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE
from ptviz.figures.style import FROZEN, GREY, PROMPT, escape_text, format_number
from ptviz.nearest_tokens import Neighbours
from ptviz.prompt_statistics import OUTLIER_FACTOR

_PALE_SCALE = [[0.0, "#FFF8F1"], [1.0, "#F2A35C"]]
_NO_SNAPSHOT = "The first snapshot will appear here."


def _select_norms(found: PromptGeometry, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return norms or distances of the prompt tokens, and the quantiles of the vocabulary's, if they are known."""
    stats = found.vocabulary_stats
    if what == "norms":
        return found.norms, None if stats is None else stats.norm_quantiles
    return found.distances, None if stats is None else stats.distance_quantiles


def draw_norms(
    found: PromptGeometry, what: str = "norms", *, numbers: Sequence[int] = (), picked: Collection[int] = ()
) -> go.Figure:
    """Draw the L2 norms of the prompt tokens, or their ``distances`` to the nearest vocabulary token.

    Bands show the same of the vocabulary, outliers have their own marker. ``numbers`` are those of the tokens, 0, 1,
    2, ... by default; if some are ``picked``, the others are dimmed.
    """
    values, bands = _select_norms(found, what)
    title = "L2 norm" if what == "norms" else "L2 distance to the nearest word"
    up = axis(title, rangemode="tozero", zeroline=None)
    figure = empty_figure(300, xaxis=axis("prompt token"), yaxis=up, showlegend=True)
    if not len(values):
        return add_note(figure, _NO_SNAPSHOT)
    counted = np.array(numbers or range(len(values)))
    if bands is not None:
        for low, high, opacity in ((0, 4, 0.15), (1, 3, 0.25)):
            figure.add_hrect(y0=bands[low], y1=bands[high], fillcolor=FROZEN, opacity=opacity, line_width=0)
        x, name = [counted[0], counted[-1]], "vocabulary: median, and its middle 50% and 90%"
        hover = "vocabulary's median %{y:.3~r}"
        add_line(figure, x, [bands[2]] * 2, name, hover, FROZEN, line_width=1.5, line_dash="dash")
    odd = found.outliers
    for name, rows, symbol in (
        ("prompt tokens", ~odd, "circle"),
        (f"outliers: over {OUTLIER_FACTOR:g} times the median", odd, "x"),
    ):
        if rows.any():
            bright = np.isin(counted[rows], list(picked)) | (not picked)
            look = {"marker_size": 9, "marker_symbol": symbol, "marker_opacity": np.where(bright, 1.0, DIMMED_OPACITY)}
            numbered = {"meta": PICKABLE, "customdata": counted[rows].tolist()}
            add_points(figure, counted[rows], values[rows], name, "token %{x}: %{y:.3~r}", **look, **numbered)
    return figure


def describe_norms(found: PromptGeometry, what: str = "norms", *, numbers: Sequence[int] = ()) -> str:
    """Describe norms or distances: range, median, vocabulary range, outliers; ``numbers`` as in ``draw_norms``."""
    values, bands = _select_norms(found, what)
    if not len(values):
        return "No prompt token yet."
    described = (
        f"{len(values)} prompt tokens, {what} from {format_number(values.min())} to {format_number(values.max())}"
    )
    described += f", median {format_number(np.median(values))}"
    if bands is not None:
        described += (
            f"; the middle 90% of the vocabulary lies between {format_number(bands[0])} and {format_number(bands[-1])}"
        )
    odd = [number for number, far in zip(numbers or range(len(values)), found.outliers.tolist(), strict=True) if far]
    return described + (f". Outliers: tokens {', '.join(map(str, odd))}." if odd else ". No outlier.")


def draw_neighbours(found: Neighbours, words: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> go.Figure:
    """Draw a table of words: one row per prompt token, the nearest word first, coloured by its score.

    ``words`` are the k words of each row; ``labels`` are the names of the rows, by default their numbers.
    """
    rows, k = found.ids.shape
    figure = empty_figure(90 + 26 * max(rows, 3), margin={"t": 30, "b": 16})
    if not rows or not k:
        return add_note(figure, _NO_SNAPSHOT)
    _draw_words(figure, words, found.scores, found.metric, labels, [f"rank {i + 1}" for i in range(k)], 11)
    names = ["nearest", *[f"{i + 1}." for i in range(1, k)]]
    return figure.update_layout(xaxis=category_axis(names, 8, side="top"))


def _draw_words(
    figure: go.Figure,
    words: Sequence[Sequence[str]],
    scores: np.ndarray,
    metric: str,
    labels: Sequence[str],
    columns: Sequence[str],
    size: int,
) -> None:
    """Draw words in cells coloured by their scores, one row per prompt token; ``size`` is that of the font."""
    # As many characters as fit in a cell of a page's width; the app cuts them further. The hover text has all of them.
    longest = max(6, min(16, 110 // max(len(columns), 1)))
    names = labels or [str(i) for i in range(len(words))]
    hover = [
        [f"token {escape_text(name, 24)}, {at}: {escape_text(word, 60)}" for at, word in zip(columns, row, strict=True)]
        for name, row in zip(names, words, strict=True)
    ]
    look = {
        "text": [[escape_text(word, longest) for word in row] for row in words],
        "texttemplate": "%{text}",
        # Dark words on light cells, on a light page and on a dark page.
        "textfont": {"size": size, "color": "#1B2430"},
        "reversescale": metric == "L2",
    }
    template = f"%{{hovertext}}<br>{metric} %{{z:.3f}}"
    add_cells(figure, scores, metric, template, (None, None), _PALE_SCALE, gap=2, hovertext=hover, **look)
    figure.update_layout(yaxis=category_axis(names, 24, "prompt token", **TOP_DOWN))


def describe_neighbours(found: Neighbours, words: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> str:
    """Describe the nearest words of the first prompt tokens; ``labels`` as in ``draw_neighbours``."""
    if not len(words):
        return "Nearest words: no prompt token yet."
    named = labels or [str(i) for i in range(len(words))]
    described = [f"token {name}: {', '.join(row[:3])}" for name, row in zip(named[:12], words[:12], strict=True)]
    return f"Nearest vocabulary tokens by {found.metric}. " + "; ".join(described) + "."


def draw_neighbour_overlap(steps: Sequence[int], shares: Sequence[float], at: int | None = None) -> go.Figure:
    """Draw the share (0 to 1) of the initial neighbours that are still neighbours over the steps."""
    up = axis("initial neighbours kept", tickformat=".0%", range=[0, 1.03], zeroline=None)
    figure = empty_figure(240, hovermode="x unified", xaxis=axis("step"), yaxis=up, showlegend=False)
    if not steps:
        return add_note(figure, _NO_SNAPSHOT)
    add_line(figure, list(steps), list(shares), "neighbours kept", "%{y:.0%} kept", mode="lines+markers")
    return figure if at is None else figure.add_vline(x=steps[at], line={"color": GREY, "width": 1.5})


def draw_nearest_words_over_steps(
    steps: Sequence[int],
    words: Sequence[Sequence[str]],
    scores: Float[np.ndarray, "m steps"],
    metric: str,
    labels: Sequence[str] = (),
    at: int | None = None,
) -> go.Figure:
    """Draw the nearest word of each prompt token (rows) at each step (columns), coloured by its score."""
    figure = empty_figure(90 + 26 * max(len(words), 3), margin={"t": 44, "b": 16})
    if not len(words) or not steps:
        return add_note(figure, _NO_SNAPSHOT)
    _draw_words(figure, words, scores, metric, labels, [f"step {step}" for step in steps], 10)
    figure.update_layout(xaxis=category_axis([str(step) for step in steps], 8, "step", side="top"))
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
    up = axis("rank of its final word", type="log", autorange="reversed", dtick=1, zeroline=None)
    figure = empty_figure(260, xaxis=axis("step"), yaxis=up, showlegend=False)
    if not len(ranks) or not steps:
        return add_note(figure, _NO_SNAPSHOT)
    for i, number in enumerate(numbers or range(len(ranks))):
        word, bright = escape_text(words[i], 20), number in picked
        look = {"line_width": 2 if bright else 1.2, "opacity": 0.6 if not picked else 1.0 if bright else DIMMED_OPACITY}
        hover, numbered = f"token {number}, {word}: rank %{{y:,}} at step %{{x}}", {"customdata": [number] * len(steps)}
        add_line(figure, list(steps), ranks[i], f"token {number}: {word}", hover, meta=PICKABLE, **numbered, **look)
    return figure if at is None else figure.add_vline(x=steps[at], line={"color": GREY, "width": 1.5})


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
