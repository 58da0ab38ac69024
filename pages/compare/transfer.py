"""Which prompts are alike, what each scores on every task, and whether the one tells the other."""

import streamlit as st

from ptviz.ui import transferring
from ptviz.ui.failures import explained
from ptviz.ui.live_plot import preload

st.title("Transfer")
st.markdown(transferring.LESSON)
chosen = None
with explained():
    chosen = transferring.choose()
if chosen:
    with explained():
        transferring.alike(chosen)
    st.subheader("Measured: every prompt on every task")
    with explained():
        transferring.measured(chosen)
preload()
