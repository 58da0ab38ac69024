"""Open, check and compare prompts that other people trained."""

import streamlit as st

from ptviz.ui import opening, side_by_side
from ptviz.ui.failures import explained
from ptviz.ui.live_plot import preload

st.title("Open a checkpoint")
st.markdown(
    "Look into a trained prompt from anywhere: a PEFT folder, a torch file, numpy, OpenPrompt, KoboldAI, mkultra, an "
    "adapter of the hub, or a run of yours. It is recognised by its content, and read in a process that can run none "
    "of it. Try two, side by side."
)
ground = None
with explained():
    ground = opening.choose_ground()
both = st.toggle("Compare two", key="two", bind="query-params")
chosen = {}
for side, column in zip(opening.SIDES, st.columns(2 if both else 1, gap="large"), strict=False):
    with column, explained():
        chosen[side] = None
        if (path := opening.choose(side, "Drop files here")) is not None:
            chosen[side] = opening.fetched(side, path)
        if chosen[side] is not None:
            opening.show(side, chosen[side], ground)
if not any(chosen.values()):
    st.caption("Nothing opened yet: drop a file above, or type a path.")
elif both and all(chosen.values()):
    with explained():
        side_by_side.compare([chosen[side] for side in opening.SIDES])
opening.waits()
preload()
