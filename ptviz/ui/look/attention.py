"""The page Attention: how much of its attention a text gives to the prompt, by site, head and prompt token."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.attention import PromptMass, site_word
from ptviz.plots import (
    plot_attention,
    plot_attention_by_site,
    plot_attention_heads,
    plot_attention_mass,
    plot_logit_lens,
)
from ptviz.plots.attention import PromptAttention
from ptviz.ui.backend import request_answer
from ptviz.ui.components import linked_selection
from ptviz.ui.components.address_values import expect_whole_number
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.forms import select_one_or_all
from ptviz.ui.components.glossary import meaning
from ptviz.ui.look.generated_tokens import render_generated_tokens
from ptviz.ui.look.look_page import SnapshotSelection, poll_request
from ptviz.ui.look.on_demand import ProbeTarget, probe_on_demand

LESSON = (
    "Prompt tokens act through [[attention]] alone: attention weights sum to 1, so what the prompt tokens "
    "receive, the text tokens lose. The attention mass on the prompt shows how much room it takes at a layer; how much "
    "it changes the output depends on its values, too: leave tokens out on the page Embeddings to measure that. "
    "**Try:** move the step and watch the mass change as the prompt trains, and type a sentence of your own."
)
_MASS_CAPTION = (
    "How to read it: from the first {site} to the last; the solid line is the share of its attention that the "
    "answer gives to the whole prompt, with one dot per head. The dotted line is the share that the prompt would get "
    "if attention were uniform."
)
_HEADS_CAPTION = (
    "How to read it: one row per {site}, one column per head, bright where the answer gives the prompt much of its "
    "attention."
)
_TOKENS_CAPTION = (
    "How to read it: one row per {site}, one column per prompt token: the answer's attention, averaged over the heads. "
    "A column that stays dark is a prompt token that the answer hardly attends to directly."
)
_GIVEN_CAPTION = (
    "How to read it: one row per token of the text, with the answer last, one column per prompt token. In a decoder, a "
    "token before the prompt cannot attend to it."
)
_LOGIT_LENS_CAPTION = (
    "How to read it: one column per prompt token, one row per layer, from the input below to the last layer on top: "
    "the likeliest word under the frozen head, bright where it is certain. Prompts are not words: most of it will make "
    "no sense, and where it does, that is a finding."
)
_READOUT_NOTES = {
    "pooled": "The answer is the mean over the text's tokens, and so is its attention.",
    "mask": "The answer is read at the mask token.",
    "last": "The answer is read at the last token.",
    "first": "The answer is the decoder's first token; the encoder's sites have text only.",
}


def render_run_attention(found: SnapshotSelection) -> None:
    """Show every panel of the page for a run at the selected step."""
    render_attention(ProbeTarget.from_selection(found), found.run.config.training.validation_rows)


def render_attention(target: ProbeTarget, text_count: int) -> None:
    """Show every panel for one prompt; ``text_count`` is the number of validation texts."""
    text, row = _text_input(text_count - 1)
    answer = poll_request(
        ("attention", target, text, row),
        lambda: request_answer(
            "attention", target.id, text=text, stage=target.stage, step=target.step, row=row, task=target.task
        ),
    )
    if answer is None:
        st.caption("The worker is reading the text with this prompt.")
        return
    shown = answer["text"]
    st.text(shown if len(shown) <= 300 else shown[:299] + "…")
    attention = PromptAttention.from_answer(answer)
    _render_metrics(attention.mass, site_word(attention.sites), answer)
    highlight = linked_selection.highlight_box(
        "prompt tokens to highlight", range(len(attention.prompt)), target.file_stem, named=attention.prompt.__getitem__
    )
    options = {**target.plot_options, "text": text, "row": row}
    linked = {"highlight": sorted(highlight), "on_pick": linked_selection.update_highlight}
    _render_by_site(target, site_word(attention.sites), {**options, "answer": answer}, linked)
    _render_by_token(target, attention, {**options, "answer": answer}, linked)
    if answer["writes"]:
        render_generated_tokens(target, options, linked)
    _render_logit_lens(target, len(attention.prompt), answer["lens_refusal"], options, linked)


def _text_input(last_row: int) -> tuple[str, int]:
    """Return the reader's own sentence, or else the number of a validation text, up to ``last_row``."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    text = left.text_input(
        "Try it: a sentence of your own",
        key="own",
        max_chars=2000,
        bind="query-params",
        placeholder="empty: a validation text",
    ).strip()
    last = max(last_row, 1)
    expect_whole_number("row", 0, last, "0")
    if int(st.session_state.get("row", 0)) > last_row:
        st.session_state["row"] = 0  # another run with fewer texts
    row = right.number_input(
        "or validation text",
        0,
        last,
        key="row",
        bind="query-params",
        disabled=bool(text),
        help=f"the number of a text of the validation set, from 0 to {last}; of a smaller set, the last text at most",
    )
    return text, 0 if text else int(row)


def _render_metrics(mass: PromptMass, word: str, answer: dict[str, Any]) -> None:
    on_prompt, uniform = float(np.nanmean(mass.answer)), float(np.nanmean(mass.uniform))
    top = int(mass.by_token.argmax())
    with st.container(horizontal=True):
        st.metric("On the prompt", f"{on_prompt:.0%}", help=f"the answer's attention, averaged over {word}s and heads")
        st.metric(
            "Uniform attention", f"{uniform:.0%}", help="the prompt's share if every token got the same attention"
        )
        st.metric("Most on token", answer["prompt"][top], help=f"{mass.by_token[top]:.1%} of the answer's attention")
    st.caption(_READOUT_NOTES[answer["reading"]])


def _render_by_site(target: ProbeTarget, word: str, options: dict[str, Any], linked: dict[str, Any]) -> None:
    stem = target.file_stem
    render_plot(
        plot_attention_mass,
        target.prompt,
        **options,
        highlight=linked["highlight"],
        key="mass",
        caption=_MASS_CAPTION.format(site="layer" if word == "layer" else "attention site"),
        filename=f"{stem}-mass",
        title=f"Attention on the prompt, {word} by {word}",
    )
    left, right = st.columns(2, gap="medium")
    with left:
        render_plot(
            plot_attention_heads,
            target.prompt,
            **options,
            key="heads",
            caption=_HEADS_CAPTION.format(site=word),
            filename=f"{stem}-heads",
            title="The answer's heads",
            toolbar=False,
        )
    with right:
        render_plot(
            plot_attention_by_site,
            target.prompt,
            **options,
            **linked,
            key="tokens",
            caption=_TOKENS_CAPTION.format(site=word),
            filename=f"{stem}-tokens",
            title="The answer, by prompt token",
            toolbar=False,
        )


def _render_by_token(
    target: ProbeTarget, attention: PromptAttention, options: dict[str, Any], linked: dict[str, Any]
) -> None:
    with st.container(horizontal=True):
        site = select_one_or_all(site_word(attention.sites), attention.sites, key="site")
        head = select_one_or_all("head", [str(head) for head in range(attention.weights.shape[1])], key="head")
    render_plot(
        plot_attention,
        target.prompt,
        **options,
        **linked,
        site=site,
        head=head,
        key="given",
        caption=_GIVEN_CAPTION,
        filename=f"{target.file_stem}-given",
        title="Attention of each token on each prompt token",
    )


def _render_logit_lens(
    target: ProbeTarget, m: int, refusal: str, options: dict[str, Any], linked: dict[str, Any]
) -> None:
    """Show the words that the frozen head reads at the prompt tokens, or why it cannot."""
    st.markdown("**What the frozen head reads at the prompt tokens**")
    if refusal:
        st.button("Read the prompt tokens", icon=":material/play_arrow:", key="measure-lens", disabled=True)
        st.text(refusal)
        return
    description = f"At every prompt token and layer: {meaning('logit lens')}"
    answer = probe_on_demand(
        target, "lens", "Read the prompt tokens", description, text=options["text"], row=options["row"]
    )
    if answer is None:
        return
    render_plot(
        plot_logit_lens,
        target.prompt,
        **options,
        **linked,
        # Keys and values come first among the prompt tokens; the lens reads only those at the input.
        first_token=m - np.array(answer["shares"]).shape[1],
        answer=answer,
        key="lens",
        caption=_LOGIT_LENS_CAPTION,
        filename=f"{target.file_stem}-lens",
    )
