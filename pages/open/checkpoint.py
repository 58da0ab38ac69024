"""Open, check and compare prompts that other people trained."""

from pathlib import Path

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look.look_page import rerun_when_answered
from ptviz.ui.open import checkpoint, compare_checkpoints

st.title("Open a checkpoint")
render_markdown(
    "Inspect a trained [[soft prompt]]: a PEFT folder, a torch file, numpy, OpenPrompt, KoboldAI, mkultra, an adapter "
    "of the Hub, or one of your runs. Its format is recognised by its content, and a sandboxed process reads it "
    "without executing anything in it. **Try:** compare two."
)
checkpoint.render_sandbox_note()
checkpoint.render_samples()
reference = None
with show_errors():
    reference = checkpoint.select_backbone_reference()
both = st.toggle("Compare two", key="two", bind="query-params")
chosen: dict[str, Path] = {}
for side, column in zip(checkpoint.SIDES, st.columns(2 if both else 1, gap="large"), strict=False):
    with column, show_errors():
        path = checkpoint.checkpoint_input(side, "Drop files here")
        if path is not None and (path := checkpoint.fetch_hub_checkpoint(side, path)) is not None:
            chosen[side] = checkpoint.select_checkpoint(side, path)
if not chosen:
    if both or (sample := checkpoint.first_sample()) is None:
        st.caption("No checkpoint opened yet. Drop a file above, or type a path.")
    else:
        st.caption("A recorded example, until you open a checkpoint of your own.")
        checkpoint.render_checkpoint(checkpoint.SIDES[0], sample, reference)
elif both and len(chosen) == len(checkpoint.SIDES):
    with show_errors():
        compare_checkpoints.render_checkpoint_comparison([chosen[side] for side in checkpoint.SIDES])
# What differs comes first, then everything about each.
for side, column in zip(checkpoint.SIDES, st.columns(2 if both else 1, gap="large"), strict=False):
    with column, show_errors():
        if side in chosen:
            checkpoint.render_checkpoint(side, chosen[side], reference)
rerun_when_answered("The worker is answering; this page is drawn again as soon as the answer is there.")
preload_plotly()
