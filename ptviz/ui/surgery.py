"""Surgery on the page of embeddings: what the prompt would be worth with one of its tokens changed."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.figures.matrix import draw_bars, tell_bars
from ptviz.ui.inside import Moment, asked
from ptviz.ui.panels import panel
from ptviz.ui.services import operate

_ACTIONS = {
    "ablate": "take it out",
    "halve": "halve it",
    "double": "double it",
    "snap": "snap to nearest word",
}
_READ = (
    "How to read it: one bar a prompt token: how much the validation loss rises (orange) or falls (blue) if this one "
    "token alone is changed. A bar near zero is a token the prompt does not need as it is."
)


def show(found: Moment, inner: bool = False) -> None:
    """Choose a change, measure it on every token in turn; ``inner`` prompts, keys and values, can only lose tokens."""
    st.markdown("**Surgery: change one prompt token at a time**")
    actions = ["ablate"] if inner else list(_ACTIONS)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        action = st.segmented_control("change", actions, default="ablate", key="cut", format_func=_ACTIONS.__getitem__)
        pressed = st.button("Measure", icon=":material/content_cut:", key="operate", disabled=action is None)
    place = found.run.id, found.here.stage, found.here.step, action
    if pressed:
        st.session_state["operated"] = place
    if action is None or st.session_state.get("operated") != place:
        st.caption("Measured on validation texts by the worker; a run under way waits for some seconds meanwhile.")
        return
    run, stage, step, _ = place
    answer = asked(("surgery", *place), lambda: operate(run, action, stage, step))
    if answer is None:
        st.caption("The worker is measuring the prompt of this step.")
        return
    rises = np.array(answer["losses"]) - answer["loss"]
    lost = np.array(answer["accuracies"]) - answer["accuracy"]
    worst = int(rises.argmax())
    with st.container(horizontal=True):
        st.metric("Whole prompt", f"{answer['accuracy']:.1%}", help=f"accuracy on {answer['rows']} validation texts")
        st.metric(f"Token {worst} changed", f"{answer['accuracies'][worst]:.1%}", f"{lost[worst]:+.1%}")
        st.metric("Loss with it changed", f"{answer['losses'][worst]:.3f}", f"{rises[worst]:+.3f}", "inverse")
    names = [f"{i} {word}" for i, word in enumerate(answer["words"])]
    panel(draw_bars(rises, "prompt token", "rise of the loss (nats)", names),
          f"Rise of the validation loss with each prompt token changed ({_ACTIONS[action]}): "
          f"{tell_bars(rises, 'prompt token')}",
          _READ, key="surgery", name=f"{run}-surgery-{action}")  # fmt: skip
