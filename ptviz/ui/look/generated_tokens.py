"""The generated text on the page Attention: what each of its tokens attends to, and what each layer would generate."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ptviz.plots import plot_generated_attention, plot_generated_lens
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.forms import select_one_or_all
from ptviz.ui.look.on_demand import ProbeTarget, probe_on_demand

_ATTENTION_CAPTION = (
    "How to read it: one row per generated token, from the first to the last, one column per prompt token: the "
    "attention of the position where the token was chosen. Rows need not sum to 100%: the rest goes to the input and "
    "to the text so far."
)
_LENS_CAPTION = (
    "How to read it: one column per generated token, one row per layer, from the input below to the last layer on top: "
    "the token that would have been generated after this layer, bright where it is certain. Look for the layer from "
    "which on a column holds the generated token."
)


def render_generated_tokens(target: ProbeTarget, options: dict[str, Any], linked: dict[str, Any]) -> None:
    """Show both panels once the worker has written the text; ``options`` name the prompt and the input."""
    st.markdown("**The generated text, token by token**")
    description = "A text is generated for this input; then its tokens' attention and the logit lens are measured."
    answer = probe_on_demand(
        target, "written", "Generate and measure", description, text=options["text"], row=options["row"]
    )
    if answer is None:
        return
    written = answer["written"] or "(only special tokens)"
    st.text(written if len(written) <= 300 else written[:299] + "…")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        site = select_one_or_all("site", answer["sites"], key="written-site")
        head = select_one_or_all("head", [str(head) for head in range(answer["shape"][1])], key="written-head")
        without_largest = st.toggle(
            "without the most attended prompt token",
            key="written-rest",
            bind="query-params",
            help="A decoder's first position often gets most of the attention, whatever it holds (an attention sink).",
        )
    render_plot(
        plot_generated_attention,
        target.prompt,
        **options,
        **linked,
        site=site,
        head=head,
        without_largest=without_largest,
        answer=answer,
        key="written",
        caption=_ATTENTION_CAPTION,
        filename=f"{target.file_stem}-written",
        title="Attention of each generated token on each prompt token",
    )
    render_plot(
        plot_generated_lens,
        target.prompt,
        **options,
        answer=answer,
        key="written-lens",
        caption=_LENS_CAPTION,
        filename=f"{target.file_stem}-written-lens",
        title="What each layer would generate",
    )
