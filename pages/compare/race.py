"""Several methods side by side on one task: train what is missing, look at all of it."""

import streamlit as st

from ptviz.ui.compare import methods_setup
from ptviz.ui.compare.methods_text import FAIRNESS_TEXT
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly

st.title("Race")
st.markdown(
    "Methods on the same backbone, task and seeds. Runs that were trained before join by themselves; only what is "
    "missing is trained."
)
configs = None
with show_errors():
    configs = methods_setup.comparison_form()
if configs:
    with show_errors():
        methods_setup.render_live_comparison(configs)
    with st.expander("Is this race fair?", icon=":material/balance:"):
        st.markdown(FAIRNESS_TEXT)
    with st.expander("How steady is a method? Learning rates against seeds", icon=":material/grid_on:"), show_errors():
        methods_setup.render_learning_rate_study(configs)
elif configs is not None:
    st.caption("Choose at least one method, a backbone and a task.")
preload_plotly()
