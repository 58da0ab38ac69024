"""What a text's tokens and the answer look at in a run's prompt: by site, by head, by prompt token."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.attention import PromptMass, given, prompt_mass
from ptviz.figures import attention as drawn
from ptviz.figures.lens import draw_lens, tell_lens
from ptviz.runs.packed import unpack
from ptviz.ui.inside import Moment, asked
from ptviz.ui.measuring import measured
from ptviz.ui.panels import panel
from ptviz.ui.services import attention

LESSON = (
    "Prompt tokens act through attention alone: what the text and the answer take from them, they no longer take "
    "from the text. So the share of attention on the prompt is a gate. **Try:** move the step and see the gate open or "
    "close as the prompt trains, and type a sentence of your own."
)
_READ_MASS = (
    "How to read it: each place is an attention site, from the first layer to the last; the solid line is the share of "
    "its attention that the answer gives to the whole prompt, with one dot a head. The dotted line is what the prompt "
    "would get if every token were looked at alike."
)
_READ_HEADS = (
    "How to read it: one row a site, one column a head, bright where the answer gives the prompt much of its attention."
)
_READ_TOKENS = (
    "How to read it: one row a site, one column a prompt token: the answer's attention, averaged over the heads. A "
    "column that stays dark is a prompt token that the answer hardly reads by itself."
)
_READ_GIVEN = (
    "How to read it: one row a token of the text and the answer last, one column a prompt token. In a decoder, a token "
    "that stands before the prompt cannot see it."
)
_READ_LENS = (
    "How to read it: one column a prompt token, one row a layer, from the input below to the last layer on top: the "
    "word that the frozen head finds likeliest there, bright where it is sure. Prompts are not words: much of it will "
    "make no sense, and where it does, that is a finding."
)
_READINGS = {
    "pooled": "The answer is the mean over the text's tokens, and so is its attention.",
    "mask": "The answer is read at the mask token.",
    "last": "The answer is read at the last token.",
    "first": "The answer is the decoder's first token; the encoder's sites have text only.",
}


def show(found: Moment) -> None:
    """Every panel of the page at one step."""
    text = st.text_input(
        "Try it: a sentence of your own", key="own", max_chars=2000, bind="query-params",
        placeholder="empty: the first validation text",
    ).strip()  # fmt: skip
    place = found.here.stage, found.here.step
    answer = asked(("attention", found.run.id, place, text), lambda: attention(found.run.id, text, *place))
    if answer is None:
        st.caption("The worker is reading the text with the prompt of this step.")
        return
    shown = answer["text"]
    st.text(shown if len(shown) <= 300 else shown[:299] + "…")
    weights = unpack(answer["weights"], answer["shape"])
    mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))
    _numbers(mass, answer)
    _by_site(found, mass, answer)
    _givers(found, weights, answer)
    _lens(found, text)


def _numbers(mass: PromptMass, answer: dict[str, Any]) -> None:
    whole, even = float(np.nanmean(mass.answer)), float(np.nanmean(mass.even))
    top = int(mass.by_token.argmax())
    with st.container(horizontal=True):
        st.metric("On the prompt", f"{whole:.0%}", help="the answer's attention, averaged over sites and heads")
        st.metric("Even share", f"{even:.0%}", help="what the prompt would get if every token were looked at alike")
        st.metric("Most on token", answer["prompt"][top], help=f"{mass.by_token[top]:.1%} of the answer's attention")
    st.caption(_READINGS[answer["reading"]])


def _by_site(found: Moment, mass: PromptMass, answer: dict[str, Any]) -> None:
    sites, heads = answer["sites"], [str(head) for head in range(mass.answer.shape[1])]
    panel(drawn.draw_mass(mass, sites), drawn.tell_mass(mass, sites), _READ_MASS, key="mass",
          name=f"{found.run.id}-mass", title="Attention on the prompt, site by site")  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        axes = "site", "head", sites, heads
        panel(drawn.draw_share(mass.answer, *axes), drawn.tell_share(mass.answer, *axes), _READ_HEADS, key="heads",
              name=f"{found.run.id}-heads", title="The answer's heads", tools=False)  # fmt: skip
    with right:
        axes = "site", "prompt token", sites, answer["prompt"]
        panel(drawn.draw_share(mass.by_site, *axes), drawn.tell_share(mass.by_site, *axes), _READ_TOKENS, key="tokens",
              name=f"{found.run.id}-tokens", title="The answer, by prompt token", tools=False)  # fmt: skip


def _givers(found: Moment, weights: np.ndarray, answer: dict[str, Any]) -> None:
    with st.container(horizontal=True):
        site = _one("site", answer["sites"])
        head = _one("head", [str(head) for head in range(weights.shape[1])])
    values = given(weights, site, head)
    named = "token", "prompt token", [*answer["tokens"], "answer"], answer["prompt"]
    panel(drawn.draw_share(values, *named), drawn.tell_share(values, *named), _READ_GIVEN, key="given",
          name=f"{found.run.id}-given", title="Who looks at which prompt token")  # fmt: skip


def _lens(found: Moment, text: str) -> None:
    """The words that the frozen head reads at the prompt's places, or why it cannot."""
    st.markdown("**What the frozen head reads at the prompt tokens**")
    told = "The likeliest next word, or word in place, at every prompt token and layer: the logit lens."
    answer = measured(found, "lens", "Read the prompt tokens", told, text=text)
    if answer is None:
        return
    if "refused" in answer:
        st.text(answer["refused"])
        return
    shares = np.array(answer["shares"])
    panel(draw_lens(answer["words"], shares), tell_lens(answer["words"], shares), _READ_LENS, key="lens",
          name=f"{found.run.id}-lens")  # fmt: skip


def _one(label: str, names: list[str]) -> int | None:
    """One of the places, or None for all of them; the address remembers it, unless another run has no such place."""
    options = ["all", *names]
    if st.session_state.get(label) not in options:
        st.session_state.pop(label, None)
    chosen = st.selectbox(label, options, key=label, bind="query-params")
    return None if chosen == "all" else names.index(chosen)
