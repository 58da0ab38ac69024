"""What a run on a text-to-text task writes for a few validation inputs, at every evaluation."""

from __future__ import annotations

import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.backbones import list_backbones
from ptviz.plots import plot_perplexity, samples_table
from ptviz.plots.generated_texts import sample_steps
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.python_popover import python_popover
from ptviz.ui.components.text_blocks import TextPart, text_blocks_html

SAMPLES_CAPTION = (
    "How to read it: each row is a validation text, which is not trained on. Move the slider to see how the text with "
    "the prompt changes as training goes on; a tick marks a text that equals the reference, but for case, punctuation "
    "and articles."
)
REPLAYED_CAPTION = (
    "How to read it: each row is a validation text, which is not trained on; a tick marks a text that equals the "
    "reference, but for case, punctuation and articles."
)
RANDOM_CAPTION = (
    "The weights of this backbone are random, so its texts mean nothing: often it repeats one token. Padding is not "
    "shown; a text of nothing else is (nothing)."
)
PERPLEXITY_CAPTION = (
    "How to read it: the number of equally likely tokens that would be as hard to predict as the tokens of the "
    "references. Lower is better, 1 is perfect."
)


def render_samples(run: Run, until: int | None = None) -> None:
    """Show the samples of a step, and the perplexity over all steps; nothing for a run that generates no text.

    ``until`` shows the newest samples and the curve as they were at that step of the whole run, without a choice.
    """
    steps = [step for step in sample_steps(run) if until is None or step <= until]
    if not steps:
        return
    st.header("Samples")
    step = steps[-1]
    if until is None and len(steps) > 1:
        options = [*map(str, steps[:-1]), "newest"]
        chosen = st.select_slider("generated with the prompt of step", options, value="newest", key="samples-at")
        step = steps[-1] if chosen == "newest" else int(chosen)
    rows = samples_table(run, step=step)
    st.html(samples_html(rows))
    st.caption(SAMPLES_CAPTION if until is None else f"Generated with the prompt of step {step}. {REPLAYED_CAPTION}")
    if any(info.random and info.name == run.config.backbone for info in list_backbones()):
        st.caption(RANDOM_CAPTION)
    with st.container(horizontal=True, gap="small"):
        python_popover(call_snippet(samples_table, run, step=step), "samples")
        figure_csv_download(lambda: _to_csv(rows), f"{run.id}-samples", "samples")
    render_plot(
        plot_perplexity,
        run,
        step=until,
        key=f"perplexity-{run.id}",
        caption=PERPLEXITY_CAPTION,
        filename=f"{run.id}-perplexity",
        title="Perplexity of the validation references",
    )


def samples_html(rows: list[dict[str, object]]) -> str:
    """Return the samples as HTML."""
    names = "input", "reference", "with prompt", "without prompt"
    return text_blocks_html(
        [
            TextPart(name, str(row[name]), "\u2713 as the reference" if name == "with prompt" and row["same"] else "")
            for name in names
        ]
        for row in rows
    )


def _to_csv(rows: list[dict[str, object]]) -> str:
    return table_to_csv([list(rows[0]), *(list(row.values()) for row in rows)])
