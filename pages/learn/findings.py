"""Claims of the papers, repeated by small experiments."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.learn import findings

st.title("Findings")
render_markdown(findings.INTRODUCTION)
with show_errors():
    findings.render_findings()
