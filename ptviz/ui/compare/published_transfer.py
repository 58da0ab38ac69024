"""Published tables of measured transfer, drawn like the results of your runs."""

from __future__ import annotations

import streamlit as st

from ptviz.analysis.published_transfer import load_published_tables
from ptviz.plots import plot_published_transfer
from ptviz.ui.components.figure_panel import render_plot


def render_published_transfer() -> None:
    """Show one of the published tables with its source."""
    tables = {table.title: table for table in load_published_tables()}
    with st.expander("What the papers measured (published numbers, not yours)"):
        title = st.segmented_control("table", list(tables), default=next(iter(tables)), key="table", required=True)
        table = tables[str(title)]
        st.markdown(f"**Published**, not measured here: {table.description}. [{table.citation}]({table.url})")
        caption = "How to read it: like the grid without training above; brackets mark the prompt's own task."
        if table.baseline is not None:
            caption = "How to read it: like the grid of error reductions above, relative to training from scratch."
        render_plot(
            plot_published_transfer,
            table.title,
            key=f"published-{title}",
            caption=caption,
            filename="published-transfer",
        )
