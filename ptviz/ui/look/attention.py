"""What a text's tokens and the answer look at in a run's prompt: by site, by head, by prompt token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.attention import PromptMass, given, prompt_mass
from ptviz.figures import attention as drawn
from ptviz.figures.linked_selection import dim, pickable
from ptviz.figures.logit_lens import draw_lens, tell_lens
from ptviz.probes.array_codec import unpack
from ptviz.ui import scripts
from ptviz.ui.backend import attention
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.look.inspect_run import Moment, asked
from ptviz.ui.look.on_demand import Place, measured, question

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
    gaze(Place.of(found), found.run.config.training.validation_rows)


def gaze(place: Place, texts: int) -> None:
    """Every panel, for one prompt; ``texts`` counts the validation texts on offer."""
    text, row = _text(texts - 1)
    answer = asked(
        ("attention", place, text, row),
        lambda: attention(place.id, text, place.stage, place.step, row, place.task),
    )
    if answer is None:
        st.caption("The worker is reading the text with this prompt.")
        return
    shown = answer["text"]
    st.text(shown if len(shown) <= 300 else shown[:299] + "…")
    weights = unpack(answer["weights"], answer["shape"])
    mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))
    names = answer["prompt"]
    _numbers(mass, answer)
    picked = linked_selection.box("prompt tokens to highlight", range(len(names)), place.name, named=names.__getitem__)
    seen = _Seen(place, answer, mass, weights, picked, text, row)
    _by_site(seen)
    _givers(seen)
    _lens(seen)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the panels share: the answer of the worker in numbers, and the prompt tokens to stand out in them."""

    place: Place
    answer: dict[str, Any]
    mass: PromptMass
    weights: np.ndarray
    picked: frozenset[int]
    text: str
    row: int

    def script(self, drawn: str, name: str, *lines: str, columns: Collection[int] = ()) -> str:
        """The Python of a panel: a call in terms of ``weights``, ``mass`` and ``answer``."""
        question = {"kind": "attention", "text": self.text, **self.place.where(), "row": self.row}
        made = (
            "import numpy as np", "from ptviz.analysis.attention import prompt_mass",
            "from ptviz.probes.array_codec import unpack", 'weights = unpack(answer["weights"], answer["shape"])',
            'mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))',
        )  # fmt: skip
        after = scripts.dimmed((), columns)
        called = f"{self.place.name}-{name}"
        return scripts.asked(self.place.id, question, "attention", drawn, called, *made, *lines, after=after)


def _text(most: int) -> tuple[str, int]:
    """The sentence that is read: one's own, or a validation text by its number, up to ``most``."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    text = left.text_input(
        "Try it: a sentence of your own", key="own", max_chars=2000, bind="query-params",
        placeholder="empty: a validation text",
    ).strip()  # fmt: skip
    if int(st.session_state.get("row", 0)) > most:
        st.session_state["row"] = 0  # another run with fewer texts
    row = right.number_input(
        "or validation text", 0, max(most, 1), key="row", bind="query-params", disabled=bool(text),
        help="the number of a text of the validation set, from 0; beyond the last one it stays the last",
    )  # fmt: skip
    return text, 0 if text else int(row)


def _numbers(mass: PromptMass, answer: dict[str, Any]) -> None:
    whole, even = float(np.nanmean(mass.answer)), float(np.nanmean(mass.even))
    top = int(mass.by_token.argmax())
    with st.container(horizontal=True):
        st.metric("On the prompt", f"{whole:.0%}", help="the answer's attention, averaged over sites and heads")
        st.metric("Even share", f"{even:.0%}", help="what the prompt would get if every token were looked at alike")
        st.metric("Most on token", answer["prompt"][top], help=f"{mass.by_token[top]:.1%} of the answer's attention")
    st.caption(_READINGS[answer["reading"]])


def _by_site(seen: _Seen) -> None:
    mass, answer, name = seen.mass, seen.answer, seen.place.name
    sites, heads = answer["sites"], [str(head) for head in range(mass.answer.shape[1])]
    chosen = f", {sorted(seen.picked)}" if seen.picked else ""
    panel(drawn.draw_mass(mass, sites, seen.picked), drawn.tell_mass(mass, sites), _READ_MASS, key="mass",
          name=f"{name}-mass", title="Attention on the prompt, site by site",
          python=seen.script(f'draw_mass(mass, answer["sites"]{chosen})', "mass"))  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        axes = "site", "head", sites, heads
        panel(drawn.draw_share(mass.answer, *axes), drawn.tell_share(mass.answer, *axes), _READ_HEADS, key="heads",
              name=f"{name}-heads", title="The answer's heads", tools=False,
              python=seen.script('draw_share(mass.answer, "site", "head", answer["sites"], heads)', "heads",
                                 "heads = [str(head) for head in range(mass.answer.shape[1])]"))  # fmt: skip
    with right:
        named = "site", "prompt token", sites, answer["prompt"]
        python = seen.script(
            'draw_share(mass.by_site, "site", "prompt token", answer["sites"], answer["prompt"])', "tokens",
            columns=seen.picked,
        )  # fmt: skip
        panel(_brushed(drawn.draw_share(mass.by_site, *named), seen), drawn.tell_share(mass.by_site, *named),
              _READ_TOKENS, key="tokens", name=f"{name}-tokens", title="The answer, by prompt token", tools=False,
              on_pick=linked_selection.pick, python=python)  # fmt: skip


def _givers(seen: _Seen) -> None:
    answer, weights = seen.answer, seen.weights
    with st.container(horizontal=True):
        site = _one("site", answer["sites"])
        head = _one("head", [str(head) for head in range(weights.shape[1])])
    values = given(weights, site, head)
    named = "token", "prompt token", [*answer["tokens"], "answer"], answer["prompt"]
    python = seen.script(
        f'draw_share(given(weights, {site}, {head}), "token", "prompt token", names, answer["prompt"])', "given",
        "from ptviz.analysis.attention import given", 'names = [*answer["tokens"], "answer"]', columns=seen.picked,
    )  # fmt: skip
    panel(_brushed(drawn.draw_share(values, *named), seen), drawn.tell_share(values, *named), _READ_GIVEN,
          key="given", name=f"{seen.place.name}-given", title="Who looks at which prompt token",
          on_pick=linked_selection.pick, python=python)  # fmt: skip


def _brushed(figure: Any, seen: _Seen) -> Any:
    """A figure with a column for each prompt token, which can be picked."""
    return dim(pickable(figure, range(len(seen.answer["prompt"])), columns=True), (), seen.picked)


def _lens(seen: _Seen) -> None:
    """The words that the frozen head reads at the prompt's places, or why it cannot."""
    st.markdown("**What the frozen head reads at the prompt tokens**")
    told = "The likeliest next word, or word in place, at every prompt token and layer: the logit lens."
    answer = measured(seen.place, "lens", "Read the prompt tokens", told, text=seen.text, row=seen.row)
    if answer is None:
        return
    if "refused" in answer:
        st.text(answer["refused"])
        return
    shares = np.array(answer["shares"])
    # Keys and values come first among the prompt tokens, and the lens reads those in the input alone.
    inside = len(seen.answer["prompt"]) - shares.shape[1]
    numbers = range(inside, inside + shares.shape[1])
    bright = [place for place, number in enumerate(numbers) if number in seen.picked]
    name = f"{seen.place.name}-lens"
    python = scripts.asked(
        seen.place.id, question(seen.place, "lens", text=seen.text, row=seen.row), "lens",
        'draw_lens(answer["words"], np.array(answer["shares"]))', name, "import numpy as np",
        after=scripts.dimmed((), bright),
    )  # fmt: skip
    figure = dim(pickable(draw_lens(answer["words"], shares), numbers, columns=True), (), bright)
    told = tell_lens(answer["words"], shares)
    panel(figure, told, _READ_LENS, key="lens", name=name, on_pick=linked_selection.pick, python=python)


def _one(label: str, names: list[str]) -> int | None:
    """One of the places, or None for all of them; the address remembers it, unless another run has no such place."""
    options = ["all", *names]
    if st.session_state.get(label) not in options:
        st.session_state.pop(label, None)
    chosen = st.selectbox(label, options, key=label, bind="query-params")
    return None if chosen == "all" else names.index(chosen)
