"""What a run on a text-to-text task writes for a few validation inputs, at every evaluation."""

from __future__ import annotations

import html

import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.plots import plot_perplexity, samples_table
from ptviz.plots.snippet import call_snippet
from ptviz.plots.written_texts import sample_steps
from ptviz.runs import Run
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.python_snippet import python_popover

SAMPLES_CAPTION = (
    "How to read it: each row is a validation text, which is not trained on. Move the slider to see how the text with "
    "the prompt changes as training goes on; a tick marks a text that equals the reference, but for case, punctuation "
    "and articles."
)
PERPLEXITY_CAPTION = (
    "How to read it: the number of equally likely tokens that would be as hard to predict as the tokens of the "
    "references. Lower is better, 1 is perfect."
)


_STYLE = """<style>
.ptviz-sample { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .4rem 1.2rem;
  margin: 0 !important; padding: .6rem 0 !important; border-bottom: 1px solid rgba(128, 128, 128, .3); }
.ptviz-sample div, .ptviz-sample dt, .ptviz-sample dd { margin: 0 !important; padding: 0 !important; }
.ptviz-sample dt { font-size: .8rem; opacity: .75; }
.ptviz-sample dd { overflow-wrap: anywhere; white-space: pre-wrap; }
.ptviz-same { font-size: .8rem; font-weight: 600; white-space: nowrap; }
</style>"""


def render_samples(run: Run) -> None:
    """Show the samples of a step, and the perplexity over all steps; nothing for a run that writes no texts."""
    steps = sample_steps(run)
    if not steps:
        return
    st.subheader("Samples")
    step = steps[-1]
    if len(steps) > 1:
        options = [*map(str, steps[:-1]), "newest"]
        chosen = st.select_slider("written with the prompt of step", options, value="newest", key="samples-at")
        step = steps[-1] if chosen == "newest" else int(chosen)
    rows = samples_table(run, step=step)
    st.html(samples_html(rows))
    st.caption(SAMPLES_CAPTION)
    with st.container(horizontal=True, gap="small"):
        python_popover(call_snippet(samples_table, run, step=step), "samples")
        figure_csv_download(lambda: _to_csv(rows), f"{run.id}-samples", "samples")
    render_plot(
        plot_perplexity,
        run,
        key=f"perplexity-{run.id}",
        caption=PERPLEXITY_CAPTION,
        filename=f"{run.id}-perplexity",
        title="Perplexity of the validation references",
    )


def samples_html(rows: list[dict[str, object]]) -> str:
    """Return the samples as HTML in which every text is only text: a block for each, its parts side by side."""
    return _STYLE + "".join(map(_sample_html, rows))


def _sample_html(row: dict[str, object]) -> str:
    mark = "<span class='ptviz-same'>\u2713 as the reference</span>" if row["same"] else ""
    parts = (("input", ""), ("reference", ""), ("with prompt", mark), ("without prompt", ""))
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{html.escape(str(row[name])) or '<i>(nothing)</i>'} {more}</dd></div>"
        for name, more in parts
    )
    return f"<dl class='ptviz-sample'>{cells}</dl>"


def _to_csv(rows: list[dict[str, object]]) -> str:
    return table_to_csv([list(rows[0]), *(list(row.values()) for row in rows)])
