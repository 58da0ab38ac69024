"""What a text's tokens and the answer look at in a run's prompt: by site, by head, by prompt token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.attention import PromptMass, attention_given, prompt_mass
from ptviz.figures import attention as drawn
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.figures.logit_lens import describe_logit_lens, draw_logit_lens
from ptviz.probes.array_codec import decode_array
from ptviz.ui import scripts
from ptviz.ui.backend import request_answer
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.look.inspect_run import SnapshotSelection, poll_request
from ptviz.ui.look.on_demand import ProbeTarget, probe_on_demand, probe_request

LESSON = (
    "Prompt tokens act through attention alone: what the text and the answer take from them, they no longer take "
    "from the text. So the share of attention on the prompt is a gate. **Try:** move the step and see the gate open or "
    "close as the prompt trains, and type a sentence of your own."
)
_MASS_CAPTION = (
    "How to read it: each place is an attention site, from the first layer to the last; the solid line is the share of "
    "its attention that the answer gives to the whole prompt, with one dot a head. The dotted line is what the prompt "
    "would get if every token were looked at alike."
)
_HEADS_CAPTION = (
    "How to read it: one row a site, one column a head, bright where the answer gives the prompt much of its attention."
)
_TOKENS_CAPTION = (
    "How to read it: one row a site, one column a prompt token: the answer's attention, averaged over the heads. A "
    "column that stays dark is a prompt token that the answer hardly reads by itself."
)
_GIVEN_CAPTION = (
    "How to read it: one row a token of the text and the answer last, one column a prompt token. In a decoder, a token "
    "that stands before the prompt cannot see it."
)
_LOGIT_LENS_CAPTION = (
    "How to read it: one column a prompt token, one row a layer, from the input below to the last layer on top: the "
    "word that the frozen head finds likeliest there, bright where it is sure. Prompts are not words: much of it will "
    "make no sense, and where it does, that is a finding."
)
_READOUT_NOTES = {
    "pooled": "The answer is the mean over the text's tokens, and so is its attention.",
    "mask": "The answer is read at the mask token.",
    "last": "The answer is read at the last token.",
    "first": "The answer is the decoder's first token; the encoder's sites have text only.",
}


def render_run_attention(found: SnapshotSelection) -> None:
    """Every panel of the page at one step."""
    render_attention(ProbeTarget.from_selection(found), found.run.config.training.validation_rows)


def render_attention(place: ProbeTarget, texts: int) -> None:
    """Every panel, for one prompt; ``texts`` counts the validation texts on offer."""
    text, row = _text_input(texts - 1)
    answer = poll_request(
        ("attention", place, text, row),
        lambda: request_answer(
            "attention", place.id, text=text, stage=place.stage, step=place.step, row=row, task=place.task
        ),
    )
    if answer is None:
        st.caption("The worker is reading the text with this prompt.")
        return
    shown = answer["text"]
    st.text(shown if len(shown) <= 300 else shown[:299] + "…")
    weights = decode_array(answer["weights"], answer["shape"])
    mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))
    names = answer["prompt"]
    _render_metrics(mass, answer)
    picked = linked_selection.highlight_box(
        "prompt tokens to highlight", range(len(names)), place.file_stem, named=names.__getitem__
    )
    seen = _AttentionData(place, answer, mass, weights, picked, text, row)
    _render_by_site(seen)
    _render_by_query(seen)
    _render_logit_lens(seen)


@dataclass(frozen=True, eq=False)
class _AttentionData:
    """What the panels share: the answer of the worker in numbers, and the prompt tokens to stand out in them."""

    target: ProbeTarget
    answer: dict[str, Any]
    mass: PromptMass
    weights: np.ndarray
    highlighted: frozenset[int]
    text: str
    example_index: int

    def python_code(self, drawn: str, name: str, *lines: str, columns: Collection[int] = ()) -> str:
        """The Python of a panel: a call in terms of ``weights``, ``mass`` and ``answer``."""
        question = {"kind": "attention", "text": self.text, **self.target.request_fields(), "row": self.example_index}
        made = (
            "import numpy as np", "from ptviz.analysis.attention import prompt_mass",
            "from ptviz.probes.array_codec import decode_array", 'weights = unpack(answer["weights"], answer["shape"])',
            'mass = prompt_mass(weights, np.array(answer["others"]), np.array(answer["kept"]))',
        )  # fmt: skip
        after = scripts.dim_cells_code((), columns)
        called = f"{self.target.file_stem}-{name}"
        return scripts.probe_script(self.target.id, question, "attention", drawn, called, *made, *lines, after=after)


def _text_input(most: int) -> tuple[str, int]:
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


def _render_metrics(mass: PromptMass, answer: dict[str, Any]) -> None:
    whole, even = float(np.nanmean(mass.answer)), float(np.nanmean(mass.uniform))
    top = int(mass.by_token.argmax())
    with st.container(horizontal=True):
        st.metric("On the prompt", f"{whole:.0%}", help="the answer's attention, averaged over sites and heads")
        st.metric("Even share", f"{even:.0%}", help="what the prompt would get if every token were looked at alike")
        st.metric("Most on token", answer["prompt"][top], help=f"{mass.by_token[top]:.1%} of the answer's attention")
    st.caption(_READOUT_NOTES[answer["reading"]])


def _render_by_site(seen: _AttentionData) -> None:
    mass, answer, name = seen.mass, seen.answer, seen.target.file_stem
    sites, heads = answer["sites"], [str(head) for head in range(mass.answer.shape[1])]
    chosen = f", {sorted(seen.highlighted)}" if seen.highlighted else ""
    figure_panel(drawn.draw_attention_mass(mass, sites, seen.highlighted), drawn.describe_attention_mass(mass,
    sites), _MASS_CAPTION, key="mass",
          name=f"{name}-mass", title="Attention on the prompt, site by site",
          python=seen.python_code(f'draw_attention_mass(mass, answer["sites"]{chosen})', "mass"))  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        axes = "site", "head", sites, heads
        figure_panel(drawn.draw_attention_heatmap(mass.answer, *axes), drawn.describe_attention_heatmap(mass.answer,
        *axes), _HEADS_CAPTION, key="heads",
              name=f"{name}-heads", title="The answer's heads", tools=False,
              python=seen.python_code('draw_attention_heatmap(mass.answer, "site", "head", answer["sites"], heads)', "heads",
                                 "heads = [str(head) for head in range(mass.answer.shape[1])]"))  # fmt: skip
    with right:
        named = "site", "prompt token", sites, answer["prompt"]
        python = seen.python_code(
            'draw_attention_heatmap(mass.by_site, "site", "prompt token", answer["sites"], answer["prompt"])', "tokens",
            columns=seen.highlighted,
        )  # fmt: skip
        figure_panel(_link_highlight(drawn.draw_attention_heatmap(mass.by_site, *named), seen),
        drawn.describe_attention_heatmap(mass.by_site, *named),
              _TOKENS_CAPTION, key="tokens", name=f"{name}-tokens", title="The answer, by prompt token", tools=False,
              on_pick=linked_selection.update_highlight, python=python)  # fmt: skip


def _render_by_query(seen: _AttentionData) -> None:
    answer, weights = seen.answer, seen.weights
    with st.container(horizontal=True):
        site = _select_one_or_all("site", answer["sites"])
        head = _select_one_or_all("head", [str(head) for head in range(weights.shape[1])])
    values = attention_given(weights, site, head)
    named = "token", "prompt token", [*answer["tokens"], "answer"], answer["prompt"]
    python = seen.python_code(
        f'draw_attention_heatmap(given(weights, {site}, {head}), "token", "prompt token", names, answer["prompt"])', "given",
        "from ptviz.analysis.attention import attention_given", 'names = [*answer["tokens"], "answer"]',
        columns=seen.highlighted,
    )  # fmt: skip
    figure_panel(_link_highlight(drawn.draw_attention_heatmap(values, *named), seen),
    drawn.describe_attention_heatmap(values, *named), _GIVEN_CAPTION,
          key="given", name=f"{seen.target.file_stem}-given", title="Who looks at which prompt token",
          on_pick=linked_selection.update_highlight, python=python)  # fmt: skip


def _link_highlight(figure: Any, seen: _AttentionData) -> Any:
    """A figure with a column for each prompt token, which can be picked."""
    return dim_cells(make_pickable(figure, range(len(seen.answer["prompt"])), columns=True), (), seen.highlighted)


def _render_logit_lens(seen: _AttentionData) -> None:
    """The words that the frozen head reads at the prompt's places, or why it cannot."""
    st.markdown("**What the frozen head reads at the prompt tokens**")
    told = "The likeliest next word, or word in place, at every prompt token and layer: the logit lens."
    answer = probe_on_demand(
        seen.target, "lens", "Read the prompt tokens", told, text=seen.text, row=seen.example_index
    )
    if answer is None:
        return
    if "refused" in answer:
        st.text(answer["refused"])
        return
    shares = np.array(answer["shares"])
    # Keys and values come first among the prompt tokens, and the lens reads those in the input alone.
    inside = len(seen.answer["prompt"]) - shares.shape[1]
    numbers = range(inside, inside + shares.shape[1])
    bright = [place for place, number in enumerate(numbers) if number in seen.highlighted]
    name = f"{seen.target.file_stem}-lens"
    python = scripts.probe_script(
        seen.target.id, probe_request(seen.target, "lens", text=seen.text, row=seen.example_index), "logit_lens",
        'draw_logit_lens(answer["words"], np.array(answer["shares"]))', name, "import numpy as np",
        after=scripts.dim_cells_code((), bright),
    )  # fmt: skip
    figure = dim_cells(make_pickable(draw_logit_lens(answer["words"], shares), numbers, columns=True), (), bright)
    told = describe_logit_lens(answer["words"], shares)
    figure_panel(
        figure,
        told,
        _LOGIT_LENS_CAPTION,
        key="lens",
        name=name,
        on_pick=linked_selection.update_highlight,
        python=python,
    )


def _select_one_or_all(label: str, names: list[str]) -> int | None:
    """One of the places, or None for all of them; the address remembers it, unless another run has no such place."""
    options = ["all", *names]
    if st.session_state.get(label) not in options:
        st.session_state.pop(label, None)
    chosen = st.selectbox(label, options, key=label, bind="query-params")
    return None if chosen == "all" else names.index(chosen)
