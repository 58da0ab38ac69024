"""Several methods side by side on one task: train what is missing, look at all of it."""

import streamlit as st

from ptviz.ui import racing
from ptviz.ui.failures import explained
from ptviz.ui.live_plot import preload
from ptviz.ui.race_words import FAIRNESS

st.title("Race")
st.markdown(
    "Methods on the same backbone, task and seeds. Runs that were trained before join by themselves; only what is "
    "missing is trained."
)
configs = None
with explained():
    configs = racing.setup()
if configs:
    with explained():
        racing.follow(configs)
    with st.expander("Is this race fair?", icon=":material/balance:"):
        st.markdown(FAIRNESS)
    with st.expander("How steady is a method? Learning rates against seeds", icon=":material/grid_on:"), explained():
        racing.stability(configs)
elif configs is not None:
    st.caption("Choose at least one method, a backbone and a task.")
preload()
