"""The alternative text of a figure, carried by the figure itself."""

from __future__ import annotations

import plotly.graph_objects as go


def with_alt(figure: go.Figure, alt: str) -> go.Figure:
    """Store the alternative text in ``figure.layout.meta["alt"]`` and return the figure."""
    meta = figure.layout.meta if isinstance(figure.layout.meta, dict) else {}
    figure.layout.meta = {**meta, "alt": alt}
    return figure


def alt_of(figure: go.Figure) -> str:
    """Return the alternative text of a figure, "" if it has none."""
    meta = figure.layout.meta
    return str(meta.get("alt", "")) if isinstance(meta, dict) else ""
