"""Spectra: singular values, effective rank over the steps, and the error of the best low-rank approximation."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.spectrum import Spectrum
from ptviz.figures.style import GREY, PROMPT, add_note, empty_figure, escape_text, series_style


def draw_spectra(spectra: Sequence[tuple[str, Spectrum]]) -> go.Figure:
    """Draw singular values, largest first, on a log scale, one line per (name, spectrum)."""
    figure = empty_figure(320)
    figure.update_layout(
        xaxis={"title": {"text": "index of the singular value"}, "zeroline": False, "rangemode": "tozero"},
        yaxis={"title": {"text": "singular value"}, "type": "log", "exponentformat": "power", "zeroline": False},
        hovermode="closest",
    )
    shown = [
        value for _, found in spectra for value in (found.values.max(initial=0), _smallest_drawn(found)) if value > 0
    ]
    if shown and max(shown) < 100 * min(shown):
        figure.update_yaxes(dtick="D2")  # labels of all nine digits of a decade would overlap
    for index, (name, found) in enumerate(spectra):
        style = series_style(index)
        values = found.values[found.values >= _smallest_drawn(found)]
        figure.add_scatter(
            x=list(range(1, len(values) + 1)),
            y=values,
            mode="lines+markers" if len(values) <= 40 else "lines",
            line={"color": style.colour, "dash": style.dash, "width": 2.5},
            marker={"size": 6, "symbol": style.symbol},
            name=escape_text(f"{name} (effective rank {found.effective_rank:.1f})"),
            hovertemplate="number %{x}: %{y:.4g}<extra></extra>",
            showlegend=True,
        )
    if not any(found.values.any() for _, found in spectra):
        add_note(figure, "No singular value above zero.")
    return figure


def _smallest_drawn(found: Spectrum) -> float:
    """Return the smallest singular value to draw: rounding errors would stretch the log axis by ten decades."""
    largest = max(float(found.values.max(initial=0.0)), 1e-30)
    return float(found.values[found.values > 1e-6 * largest].min(initial=largest))


def describe_spectra(spectra: Sequence[tuple[str, Spectrum]]) -> str:
    """Describe each spectrum: number of values, largest value, effective rank."""
    described = [
        f"{name}: {len(s.values)} singular values, largest {s.values.max(initial=0.0):.3g}, effective rank "
        f"{s.effective_rank:.1f} of at most {s.max_rank}{', collapsed' if s.is_collapsed else ''}"
        for name, s in spectra
    ]
    return "Singular values. " + ("; ".join(described) or "None") + "."


def draw_effective_ranks(steps: Sequence[int], spectra: Sequence[Spectrum], at: int | None = None) -> go.Figure:
    """Draw the effective rank over the steps; a ring marks the step with index ``at``."""
    figure = empty_figure(260)
    ranks = [found.effective_rank for found in spectra]
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "zeroline": False},
        yaxis={"title": {"text": "effective rank"}, "rangemode": "tozero"},
        showlegend=False,
    )
    figure.add_scatter(
        x=list(steps),
        y=ranks,
        mode="lines+markers",
        line={"color": PROMPT, "width": 2.5},
        name="effective rank",
        hovertemplate="effective rank %{y:.2f}<extra></extra>",
    )
    if at is not None and 0 <= at < len(ranks):
        figure.add_scatter(
            x=[steps[at]],
            y=[ranks[at]],
            mode="markers",
            marker={"size": 15, "symbol": "circle-open", "color": PROMPT, "line": {"width": 2.5}},
            name="this step",
            hoverinfo="skip",
        )
    if spectra:
        highest = max(found.max_rank for found in spectra)
        figure.add_annotation(
            text=f"at most {highest}", x=1, xref="x domain", y=0, yref="y domain", xanchor="right", yanchor="bottom",
            showarrow=False, font={"color": GREY, "size": 12},
        )  # fmt: skip
    else:
        add_note(figure, "The first snapshot will appear here.")
    return figure


def describe_effective_ranks(steps: Sequence[int], spectra: Sequence[Spectrum]) -> str:
    """Describe the effective rank at the first and last step."""
    if not spectra:
        return "Effective rank: no snapshot yet."
    first, last = spectra[0].effective_rank, spectra[-1].effective_rank
    return f"Effective rank {first:.1f} at step {steps[0]}, {last:.1f} at step {steps[-1]}."


def draw_approximation(found: Spectrum) -> go.Figure:
    """Draw the relative Frobenius error of a matrix's best approximation of each rank."""
    figure = empty_figure(300)
    figure.update_layout(
        xaxis={"title": {"text": "rank r of the approximation"}, "zeroline": False, "rangemode": "tozero"},
        yaxis={"title": {"text": "relative error"}, "tickformat": ".0%", "range": [0, 1.03]},
        hovermode="closest",
        showlegend=False,
    )
    figure.add_scatter(
        x=list(range(len(found.approximation_errors))),
        y=found.approximation_errors,
        mode="lines+markers" if len(found.approximation_errors) <= 40 else "lines",
        line={"color": PROMPT, "width": 2.5},
        name="relative error",
        hovertemplate="rank %{x}: error %{y:.1%}<extra></extra>",
    )
    if not found.values.any():
        add_note(figure, "A matrix of zeros has nothing to approximate.")
    return figure


def describe_approximation(found: Spectrum) -> str:
    """Describe the approximation errors at some ranks."""
    if not found.values.any():
        return "A matrix of zeros."
    ranks = [r for r in (1, 2, 5, 10, 20, 50) if r < len(found.approximation_errors)]
    described = ", ".join(f"{found.approximation_errors[r]:.0%} at rank {r}" for r in ranks)
    return f"Relative error of the best approximation: {described}."
