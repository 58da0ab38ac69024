"""Claims of the papers, repeated by small experiments."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.learn import findings

st.title("Findings")
st.markdown(findings.INTRODUCTION)
with show_errors():
    findings.render_findings()
