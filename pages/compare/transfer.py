"""Which prompts are alike, what each is worth on every task, and whether the one tells the other."""

import streamlit as st

from ptviz.ui.compare import measured_transfer, prompt_selection, prompt_similarity, published_transfer
from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload

st.title("Transfer")
st.markdown(prompt_selection.LESSON)
chosen = None
with explained():
    chosen = prompt_selection.choose()
if chosen:
    with explained():
        prompt_similarity.show(chosen)
    if chosen.runs:
        with explained():
            measured_transfer.show(chosen)
with explained():
    published_transfer.show()
preload()
