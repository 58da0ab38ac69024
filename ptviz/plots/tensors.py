"""The tensors of a method: every view that their axes allow, all at a glance, and what the backbone makes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool

from ptviz.analysis.tensor_comparison import compare_rows
from ptviz.checkpoints.bundle import NamedAxesArray
from ptviz.figures import tensors as drawn
from ptviz.figures.heatmap import describe_bars, draw_bars
from ptviz.figures.linked_selection import dim_bars, dim_cells, make_pickable
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer, measure
from ptviz.plots.run_argument import PromptOrId, RunOrId, right_answers_noun
from ptviz.plots.run_tensors import MAX_STEPS, load_snapshot_tensors, load_tensor_history
from ptviz.plots.tensor_views import LabelledMatrix, LabelledVector, TensorHistory, axis_name, views_for_axes
from ptviz.profanity import mask_words
from ptviz.runs import StoreError

_MAX_TENSORS, _MAX_VALUES = 12, 100_000
_MAX_MULTIPLICATIONS = 6e8
"""Multiplications that the spectra of one figure over the steps may take: about half a second."""


def plot_tensor_view(
    prompt: PromptOrId,
    view: str,
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
    highlight_axis: str = "m",
) -> go.Figure:
    """Draw one of the views of a tensor (``ptviz.plots.tensor_views.VIEWS``, by name), such as "spectrum" or "cosines".

    ``part`` is the tensor's name, the prompt as used by default; ``index`` selects one index of its leading axes,
    ``tokens`` some of its prompt tokens, which keep their numbers. What is not in ``highlight`` (indices of
    ``highlight_axis``) is dimmed.
    """
    whole = load_tensor_history(prompt, part, stage=stage, step=step, index=index)
    history = whole if tokens is None else whole.take("m", tokens)
    views = {view.name: view for view in views_for_axes(history.axes)}
    if view not in views:
        raise StoreError(f"{history.name} has the views {', '.join(views)}; got {view!r}")
    chosen = views[view]
    rows = history.current.size // max(history.current.shape[-1], 1)
    work = history.current.size * min(rows, history.current.shape[-1] or 1)
    shown = history.shorten(int(max(2, min(MAX_STEPS, _MAX_MULTIPLICATIONS // max(work, 1)))))
    result = shown.cached(("view", view), lambda: chosen.analyse(shown))
    if tokens:
        result = _keep_numbers(result, tokens, whole.current.shape[whole.axes.index("m")])
    figure = _link_axis(chosen.draw(result), result, shown, highlight, highlight_axis)
    return with_alt(figure, f"{shown.name}. {chosen.describe(result)}")


def _keep_numbers(result: Any, tokens: Sequence[int], m: int) -> Any:
    """Return the result of a view in which some of ``m`` prompt tokens keep their numbers; others leave a gap."""
    if isinstance(result, LabelledMatrix):
        return result.at_numbers(axis_name("m"), tokens, m)
    if isinstance(result, LabelledVector) and result.axis == axis_name("m"):
        return replace(result, numbers=tuple(tokens))
    return result


def _link_axis(
    figure: go.Figure,
    result: Any,
    history: TensorHistory,
    highlight: Collection[int],
    axis: str,
) -> go.Figure:
    """Make the rows, columns or bars of an axis pickable, and dim those that are not highlighted."""
    name = axis_name(axis)
    if isinstance(result, LabelledMatrix):
        if name not in (result.rows, result.columns):
            return figure
        by_row = result.rows == name
        shown = range(result.values.shape[0 if by_row else 1])
        bright = [number for number in shown if number in highlight]
        make_pickable(figure, shown, columns=not by_row)
        return dim_cells(figure, bright if by_row else (), bright if result.columns == name else ())
    bars = figure.data and figure.data[0].type == "bar"
    if bars and history.axes[0] == axis:
        numbers = result.numbers if isinstance(result, LabelledVector) else ()
        bars_shown = numbers or range(len(history.current))
        bright = [i for i, number in enumerate(bars_shown) if number in highlight]
        return dim_bars(make_pickable(figure, bars_shown), bright)
    return figure


def plot_tensor_gallery(run: RunOrId, *, stage: int = 0, step: int | None = None) -> go.Figure:
    """Draw all tensors of a run's method at one snapshot as small heat maps, each under the letter of its paper.

    Tensors of more than 100,000 values are left out, and so are those after the twelfth.
    """
    tensors = load_snapshot_tensors(run, stage=stage, step=step)
    small = [(name, own.axes, own.array) for name, own in tensors.items() if own.array.size <= _MAX_VALUES]
    return with_alt(drawn.draw_gallery(small[:_MAX_TENSORS]), drawn.describe_gallery(small[:_MAX_TENSORS]))


def plot_row_comparison(
    run: RunOrId,
    first: str,
    second: str,
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the norms of the rows of two tensors of one shape (rows, d), and the cosines between them.

    Raises:
        ValueError: if the tensors differ in shape.
    """
    tensors = load_snapshot_tensors(run, stage=stage, step=step)
    if missing := {first, second} - set(tensors):
        raise StoreError(f"expected one of the tensors {', '.join(tensors)}; got {', '.join(sorted(missing))}")
    axes = tensors[second].axes
    result = compare_rows(tensors[first].array, tensors[second].array)
    figure = drawn.draw_row_comparison(result, first, second, axis_name(axes[0]))
    if axes[0] == "m":
        dim_bars(make_pickable(figure, range(len(result.first_norms))), highlight)
    return with_alt(figure, drawn.describe_row_comparison(result, first, second))


def plot_low_rank_accuracy(
    run: RunOrId, *, stage: int = 0, step: int | None = None, answer: Answer | None = None
) -> go.Figure:
    """Draw validation accuracy and relative error of the prompt's best approximation of each rank.

    For target texts, accuracy is the share that is generated exactly.
    The best approximation is the truncated singular value decomposition (Eckart and Young, 1936).
    """
    found = measure(answer, run, "ranks", stage=stage, step=step)
    ranks, right, errors, noun = found["ranks"], found["accuracy"], found["errors"], right_answers_noun(run)
    figure = drawn.draw_low_rank_accuracy(ranks, right, found["loss"], errors, noun)
    alt = drawn.describe_low_rank_accuracy(ranks, right, errors, noun)
    return with_alt(figure, f"{alt} On {found['rows']} validation texts.")


def plot_saliency(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the first-order importance of every piece of every prompt token, (m, pieces); pruned pieces are grey.

    The score is that of XPrompt (Ma et al. 2022): the size of the loss's derivative by a mask on the piece.
    """
    found = measure(answer, run, "saliency", stage=stage, step=step)
    used = next(iter(load_snapshot_tensors(run, stage=stage, step=step).values()))
    pieces = axis_name("S") if "S" in used.axes else "piece"
    scores, pruned = np.array(found["pieces"]), np.array(found["pruned"], dtype=bool)
    figure = make_pickable(drawn.draw_saliency(scores, pruned, pieces), range(len(scores)))
    return with_alt(dim_cells(figure, highlight), drawn.describe_saliency(scores, pruned))


def plot_signed_saliency(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the signed first-order score of every prompt token: above zero, masking it would lower the loss."""
    found = measure(answer, run, "saliency", stage=stage, step=step)
    signed, token = np.array(found["signed"]), axis_name("m")
    figure = make_pickable(draw_bars(signed, token, "signed score"), range(len(signed)))
    return with_alt(dim_bars(figure, highlight), describe_bars(signed, token))


def plot_recorded_saliency(
    run: RunOrId, part: str, *, stage: int = 0, step: int | None = None, highlight: Collection[int] = ()
) -> go.Figure:
    """Draw the scores (m, e) that a method recorded when it pruned; pieces pruned since then are grey."""
    tensors = load_snapshot_tensors(run, stage=stage, step=step)
    if part not in tensors:
        raise StoreError(f"expected one of the tensors {', '.join(tensors)}; got {part!r}")
    scores, pruned = tensors[part].array, _pruned_cells(tensors[part], tensors)
    figure = make_pickable(drawn.draw_saliency(scores, pruned), range(len(scores)))
    return with_alt(dim_cells(figure, highlight), drawn.describe_saliency(scores, pruned))


def recorded_scores(tensors: Mapping[str, TensorHistory]) -> list[str]:
    """Return the names of the tensors that are scores of pieces: axes (m, e), and no mask."""
    return [
        name
        for name, history in tensors.items()
        if history.axes == ("m", "e") and not _is_mask(history.current) and history.current.any()
    ]


def _is_mask(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _pruned_cells(scores: NamedAxesArray, tensors: Mapping[str, NamedAxesArray]) -> Bool[np.ndarray, ...]:
    """Return the cells that some 0/1 tensor over the same leading axes has switched off."""
    pruned = np.zeros(scores.array.shape, dtype=bool)
    for other in tensors.values():
        depth = len(other.axes)
        fits = other.axes == scores.axes[:depth] and other.array.shape == scores.array.shape[:depth]
        if depth and fits and _is_mask(other.array):
            pruned |= (other.array == 0).reshape(*other.array.shape, *[1] * (pruned.ndim - depth))
    return pruned


def plot_embedding_shift(
    run: RunOrId, *, stage: int = 0, step: int | None = None, text: str = "", answer: Answer | None = None
) -> go.Figure:
    """Draw how far the method moves the embedding of each word of a text, as a share of its norm.

    An empty ``text`` is the first validation text. Hovering shows the nearest word after the shift.
    """
    found = measure(answer, run, "shift", stage=stage, step=step, text=text)
    tokens = mask_words(found["tokens"])
    figure = drawn.draw_embedding_shift(found["moved"], tokens, mask_words(found["nearest"]))
    return with_alt(figure, drawn.describe_embedding_shift(found["moved"], tokens))


def plot_most_shifted_words(
    run: RunOrId, *, stage: int = 0, step: int | None = None, answer: Answer | None = None
) -> go.Figure:
    """Draw the words of the validation texts whose embeddings the method moves most."""
    found = measure(answer, run, "shift", stage=stage, step=step, text="")
    counts, most = [f"in {count} places" for count in found["counts"]], mask_words(found["most"])
    figure = drawn.draw_embedding_shift(found["by"], most, counts, "found")
    return with_alt(figure, drawn.describe_embedding_shift(found["by"], most))
