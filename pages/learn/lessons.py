"""Lessons: a prediction, a measurement, and two questions each."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.lessons import page

st.title("Lessons")
render_markdown(page.INTRODUCTION)
with show_errors():
    page.render_lessons()
