"""What two papers measured, beside one's own: marked as theirs, and drawn by the same functions."""

from __future__ import annotations

import streamlit as st

from ptviz.analysis.published_transfer import load_published_tables
from ptviz.figures import transfer as drawn
from ptviz.ui.compare import transfer_scripts as scripts
from ptviz.ui.components.figure_panel import figure_panel


def render_published_transfer() -> None:
    """One of the published tables, with its source."""
    found = {table.title: table for table in load_published_tables()}
    with st.expander("What the papers measured (published numbers, not yours)"):
        title = st.segmented_control("table", list(found), default=next(iter(found)), key="table", required=True)
        table = found[str(title)]
        st.markdown(f"**Published**, not measured here: {table.description}. [{table.citation}]({table.url})")
        reduction = table.error_reduction
        if reduction is None:
            own = [[source == target for source in table.sources] for target in table.targets]
            scores = table.scores / 100
            figure = drawn.draw_transfer_grid(scores, table.targets, table.sources, own)
            told = drawn.describe_transfer_grid(scores, table.targets, table.sources)
            read = "How to read it: as your grid of prompts as they are; brackets: the prompt's own task."
        else:
            figure = drawn.draw_transfer_gains(reduction, table.targets, table.sources)
            told = drawn.describe_transfer_gains(reduction, table.targets, table.sources)
            read = "How to read it: as your grid of starts; here the share of the errors left without any source."
        python = scripts.published_transfer_script(
            list(found).index(str(title)), reduction is not None, "published-transfer"
        )
        figure_panel(figure, f"Published by {table.citation}. {told}", read, key=f"published-{title}",
              name="published-transfer", python=python)  # fmt: skip
