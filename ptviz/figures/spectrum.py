"""Spectra: singular values, effective rank over the steps, and the error of the best low-rank approximation."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.spectrum import Spectrum
from ptviz.figures.elements import add_line, add_note, add_ring, add_text, axis, empty_figure
from ptviz.figures.style import GREY, escape_text, format_number, series_style


def draw_spectra(spectra: Sequence[tuple[str, Spectrum]]) -> go.Figure:
    """Draw singular values, largest first, on a log scale, one line per (name, spectrum)."""
    across = axis("index of the singular value", rangemode="tozero")
    figure = empty_figure(320, xaxis=across, yaxis=axis("singular value", type="log", exponentformat="power"))
    ends = [end for _, found in spectra for end in (found.values.max(initial=0), _smallest_drawn(found)) if end > 0]
    if ends and max(ends) < 100 * min(ends):
        figure.update_yaxes(dtick="D2")  # labels of all nine digits of a decade would overlap
    for index, (name, found) in enumerate(spectra):
        style, values = series_style(index), found.values[found.values >= _smallest_drawn(found)]
        title = escape_text(f"{name} (effective rank {found.effective_rank:z.1f})")
        look = {"mode": _mode(len(values)), "line_dash": style.dash, "marker_size": 6, "marker_symbol": style.symbol}
        x = list(range(1, len(values) + 1))
        add_line(figure, x, values, title, "number %{x}: %{y:.4g}", style.colour, showlegend=True, **look)
    known = any(found.values.any() for _, found in spectra)
    return figure if known else add_note(figure, "No singular value above zero.")


def _mode(count: int) -> str:
    return "lines+markers" if count <= 40 else "lines"


def _smallest_drawn(found: Spectrum) -> float:
    """Return the smallest singular value to draw: rounding errors would stretch the log axis by ten decades."""
    largest = max(float(found.values.max(initial=0.0)), 1e-30)
    return float(found.values[found.values > 1e-6 * largest].min(initial=largest))


def describe_spectra(spectra: Sequence[tuple[str, Spectrum]]) -> str:
    """Describe each spectrum: number of values, largest value, effective rank."""
    described = [
        f"{name}: {len(s.values)} singular values, largest {format_number(s.values.max(initial=0.0))}, effective rank "
        f"{s.effective_rank:z.1f} of at most {s.max_rank}{', collapsed' if s.is_collapsed else ''}"
        for name, s in spectra
    ]
    return "Singular values. " + ("; ".join(described) or "None") + "."


def draw_effective_ranks(steps: Sequence[int], spectra: Sequence[Spectrum], at: int | None = None) -> go.Figure:
    """Draw the effective rank over the steps; a ring marks the step with index ``at``."""
    up = axis("effective rank", rangemode="tozero", zeroline=None)
    figure = empty_figure(260, hovermode="x unified", xaxis=axis("step"), yaxis=up, showlegend=False)
    ranks = [found.effective_rank for found in spectra]
    hover = "effective rank %{y:.2f}"
    add_line(figure, list(steps), ranks, "effective rank", hover, mode="lines+markers")
    if at is not None and 0 <= at < len(ranks):
        add_ring(figure, steps[at], ranks[at], "this step")
    if not spectra:
        return add_note(figure, "The first snapshot will appear here.")
    corner = {"xref": "x domain", "yref": "y domain", "xanchor": "right", "yanchor": "bottom"}
    highest = max(found.max_rank for found in spectra)
    return add_text(figure, f"at most {highest}", 1, 0, font={"color": GREY, "size": 12}, **corner)


def describe_effective_ranks(steps: Sequence[int], spectra: Sequence[Spectrum]) -> str:
    """Describe the effective rank at the first and last step."""
    if not spectra:
        return "Effective rank: no snapshot yet."
    first, last = spectra[0].effective_rank, spectra[-1].effective_rank
    return f"Effective rank {first:z.1f} at step {steps[0]}, {last:z.1f} at step {steps[-1]}."


def draw_approximation(found: Spectrum) -> go.Figure:
    """Draw the relative Frobenius error of a matrix's best approximation of each rank."""
    across = axis("rank r of the approximation", rangemode="tozero")
    up = axis("relative error", tickformat=".0%", range=[0, 1.03], zeroline=None)
    figure = empty_figure(300, xaxis=across, yaxis=up, showlegend=False)
    errors = found.approximation_errors
    hover = "rank %{x}: error %{y:.1%}"
    add_line(figure, list(range(len(errors))), errors, "relative error", hover, mode=_mode(len(errors)))
    return figure if found.values.any() else add_note(figure, "A matrix of zeros has nothing to approximate.")


def describe_approximation(found: Spectrum) -> str:
    """Describe the approximation errors at some ranks."""
    if not found.values.any():
        return "A matrix of zeros."
    ranks = [r for r in (1, 2, 5, 10, 20, 50) if r < len(found.approximation_errors)]
    described = ", ".join(f"{found.approximation_errors[r]:.0%} at rank {r}" for r in ranks)
    return f"Relative error of the best approximation: {described}."
