"""A sweep of settings: its runs as a live table, and what its settings do to the score."""

import streamlit as st

from ptviz.ui.compare import sweep
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly

st.title("Sweep")
st.markdown(
    "Many runs with different settings: methods, tasks, seeds, and lists or ranges of any hyperparameter and training "
    "setting. Runs that are already trained with the same settings are reused."
)
spec = None
with show_errors():
    spec = sweep.select_sweep()
if spec is not None:
    with show_errors():
        sweep.render_sweep(spec)
preload_plotly()
