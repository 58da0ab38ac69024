"""Several methods side by side on one task: train what is missing, look at all of it."""

import streamlit as st

from ptviz.ui.compare import methods_setup
from ptviz.ui.compare.methods_text import FAIRNESS
from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload

st.title("Race")
st.markdown(
    "Methods on the same backbone, task and seeds. Runs that were trained before join by themselves; only what is "
    "missing is trained."
)
configs = None
with explained():
    configs = methods_setup.setup()
if configs:
    with explained():
        methods_setup.follow(configs)
    with st.expander("Is this race fair?", icon=":material/balance:"):
        st.markdown(FAIRNESS)
    with st.expander("How steady is a method? Learning rates against seeds", icon=":material/grid_on:"), explained():
        methods_setup.stability(configs)
elif configs is not None:
    st.caption("Choose at least one method, a backbone and a task.")
preload()
