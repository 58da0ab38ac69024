"""Open, check and compare prompts that other people trained."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.open import checkpoint, compare_checkpoints

st.title("Open a checkpoint")
st.markdown(
    "Look into a trained prompt from anywhere: a PEFT folder, a torch file, numpy, OpenPrompt, KoboldAI, mkultra, an "
    "adapter of the hub, or a run of yours. It is recognised by its content, and read in a process that can run none "
    "of it. Try two, side by side."
)
ground = None
with show_errors():
    ground = checkpoint.select_backbone_reference()
both = st.toggle("Compare two", key="two", bind="query-params")
chosen = {}
for side, column in zip(checkpoint.SIDES, st.columns(2 if both else 1, gap="large"), strict=False):
    with column, show_errors():
        chosen[side] = None
        if (path := checkpoint.checkpoint_input(side, "Drop files here")) is not None:
            chosen[side] = checkpoint.fetch_hub_checkpoint(side, path)
        if chosen[side] is not None:
            checkpoint.render_checkpoint(side, chosen[side], ground)
if not any(chosen.values()):
    st.caption("Nothing opened yet: drop a file above, or type a path.")
elif both and all(chosen.values()):
    with show_errors():
        compare_checkpoints.render_checkpoint_comparison([chosen[side] for side in checkpoint.SIDES])
checkpoint.rerun_when_answered()
preload_plotly()
