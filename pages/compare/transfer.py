"""Similarity of prompts, measured transfer between tasks, and whether one predicts the other."""

import streamlit as st

from ptviz.reports.several_runs import transfer_report
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.ui.compare import measured_transfer, prompt_selection, prompt_similarity, published_transfer
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.components.report_download import report_download

st.title("Transfer")
render_markdown(prompt_selection.LESSON)
chosen = None
with show_errors():
    chosen = prompt_selection.select_prompts()
if chosen:
    with show_errors():
        prompt_similarity.render_similarity(chosen)
    if chosen.runs:
        with show_errors():
            measured_transfer.render_measured_transfer(chosen)
    runs = [run.id for run in chosen.runs if not run.id.startswith(SAVED_PREFIX)]
    if len(runs) > 1:
        report_download(lambda: transfer_report(runs), "transfer-report")
with show_errors():
    published_transfer.render_published_transfer()
preload_plotly()
