"""Compare several methods on one task: train the missing runs and show all results."""

import streamlit as st

from ptviz.experiments.comparison import comparison_command
from ptviz.ui.compare import methods_setup, reference_lines
from ptviz.ui.compare.methods_text import FAIRNESS_TEXT
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.plotly_chart import preload_plotly

st.title("Compare methods")
render_markdown(
    "Methods on the same [[backbone]], task and [[seed|seeds]]. Runs that are already trained with the same settings "
    "are reused; only the missing ones are trained."
)
configs = None
with show_errors():
    configs = methods_setup.comparison_form()
if configs:
    with show_errors():
        methods_setup.render_live_comparison(configs)
    with show_errors():
        reference_lines.render_references(configs)
    with st.expander("The same comparison in the shell", icon=":material/terminal:"):
        st.code(comparison_command(configs), language="shell", wrap_lines=True)
    with st.expander("Is this comparison fair?", icon=":material/balance:"):
        render_markdown(FAIRNESS_TEXT)
    with st.expander("How stable is a method? Learning rates against seeds", icon=":material/grid_on:"), show_errors():
        methods_setup.render_learning_rate_study(configs)
elif configs is not None:
    st.caption("Choose at least one method, a backbone and a task.")
preload_plotly()
