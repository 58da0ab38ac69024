"""Which prompts are alike, what each is worth on every task, and whether the one tells the other."""

import streamlit as st

from ptviz.ui import alike, published_tables, transfer_grids, transferring
from ptviz.ui.failures import explained
from ptviz.ui.live_plot import preload

st.title("Transfer")
st.markdown(transferring.LESSON)
chosen = None
with explained():
    chosen = transferring.choose()
if chosen:
    with explained():
        alike.show(chosen)
    if chosen.runs:
        with explained():
            transfer_grids.show(chosen)
with explained():
    published_tables.show()
preload()
