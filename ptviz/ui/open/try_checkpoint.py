"""The panel Try it of an opened checkpoint: its backbone writes, with the prompt and without it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ptviz.checkpoints import PromptBundle
from ptviz.runs.import_prompt import importable_prompts
from ptviz.ui.components.generated_texts import TITLES, TextRequest, render_texts, request_text, stream_texts

MAX_CHARACTERS = 4000
MAX_NEW_TOKENS = 256


def try_prompt_panel(side: str, bundle: PromptBundle, path: Path, backbone: str) -> None:
    """Ask for a text, and show what the backbone writes after it with a prompt of this checkpoint and without.

    Raises:
        StoreError: if the worker could not write.
    """
    names = list(importable_prompts(bundle, backbone))
    if not names:
        return
    st.header("Try it")
    if not backbone:
        st.caption("Select the decoder or encoder-decoder that it was trained for above; then it can write here.")
        return
    if _family(backbone) == "encoder":
        st.caption(f"{backbone} is an encoder: it reads texts and generates none.")
        return
    with st.form(f"try-{side}", border=False):
        text = st.text_area(
            "Text", max_chars=MAX_CHARACTERS, key=f"try-text-{side}", placeholder="The capital of France is"
        )
        left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
        tokens = left.number_input("Tokens to generate, at most", 1, MAX_NEW_TOKENS, 32, key=f"try-tokens-{side}")
        heat = middle.number_input(
            "Temperature", 0.0, 5.0, 0.0, 0.1, key=f"try-heat-{side}", help="0 always takes the most probable token"
        )
        which = right.selectbox("Prompt", names, key=f"try-which-{side}") if len(names) > 1 else names[0]
        pressed = st.form_submit_button("Write", icon=":material/edit_note:")
    key = path, which, backbone, text.strip(), int(tokens), float(heat)
    state: tuple[tuple[object, ...], TextRequest] | None = st.session_state.get(f"tried-{side}")
    if pressed and text.strip():
        if state is not None:
            state[1].withdraw()
        request = request_text(
            "generate",
            texts=[text.strip()],
            path=str(path),
            prompt=which,
            backbone=backbone,
            max_new_tokens=int(tokens),
            temperature=float(heat),
        )
        st.session_state[f"tried-{side}"] = state = key, request
    if state is None or state[0] != key:
        return
    if not state[1].answer.done():
        stream_texts(state[1], TITLES)
        return
    answer = state[1].answer.result()
    render_texts({name: answer[name][0] for name in TITLES}, TITLES)
    st.caption(f"Input as the model reads it: {answer['template']!r}.")


def _family(backbone: str) -> str:
    from ptviz.backbones import list_backbones

    return next((info.family for info in list_backbones() if info.name == backbone), "")
