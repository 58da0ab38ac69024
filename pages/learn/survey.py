"""The survey's two figures, drawn from the live methods."""

import streamlit as st

from ptviz.ui.components.errors import explained
from ptviz.ui.learn import survey

st.title("The survey")
st.markdown(survey.INTRODUCTION)
with explained():
    survey.taxonomy_section()
with explained():
    survey.framework_section()
with explained():
    survey.pair_section()
