"""The survey's two figures, drawn from the live methods."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.learn import survey

st.title("The survey")
render_markdown(survey.INTRODUCTION)
with show_errors():
    survey.render_taxonomy()
with show_errors():
    survey.render_framework()
with show_errors():
    survey.render_method_pair()
