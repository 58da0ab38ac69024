"""Open, check and compare prompts that other people trained."""

import streamlit as st

from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.open import checkpoint, compare_checkpoints

st.title("Open a checkpoint")
st.markdown(
    "Look into a trained prompt from anywhere: a PEFT folder, a torch file, numpy, OpenPrompt, KoboldAI, mkultra, an "
    "adapter of the hub, or a run of yours. It is recognised by its content, and read in a process that can run none "
    "of it. Try two, side by side."
)
ground = None
with explained():
    ground = checkpoint.choose_ground()
both = st.toggle("Compare two", key="two", bind="query-params")
chosen = {}
for side, column in zip(checkpoint.SIDES, st.columns(2 if both else 1, gap="large"), strict=False):
    with column, explained():
        chosen[side] = None
        if (path := checkpoint.choose(side, "Drop files here")) is not None:
            chosen[side] = checkpoint.fetched(side, path)
        if chosen[side] is not None:
            checkpoint.show(side, chosen[side], ground)
if not any(chosen.values()):
    st.caption("Nothing opened yet: drop a file above, or type a path.")
elif both and all(chosen.values()):
    with explained():
        compare_checkpoints.compare([chosen[side] for side in checkpoint.SIDES])
checkpoint.waits()
preload()
