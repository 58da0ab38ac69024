"""Results of PEFT's benchmark: table, curves, and accuracy against cost."""

import streamlit as st

from ptviz.ui.compare import peft_benchmark
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import preload_plotly

st.title("PEFT benchmark")
st.markdown(
    "Hugging Face's PEFT library compares its methods on "
    "[MetaMathQA](https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA), one JSON file per run. "
    "Open one file, several or a whole folder, and compare their curves, and their accuracy against cost. **Try:** "
    "open all of them, and see which prompt methods are on the Pareto front."
)
path = None
with show_errors():
    path = peft_benchmark.results_input()
if path is not None:
    with show_errors():
        peft_benchmark.render_benchmark(path)
else:
    st.caption(
        "No results opened yet. Drop result files above, or type the path of a folder. "
        "They are in PEFT's repository, in the folder method_comparison/MetaMathQA/results."
    )
    with show_errors():
        peft_benchmark.render_sample()
preload_plotly()
