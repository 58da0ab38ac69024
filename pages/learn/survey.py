"""The survey's two figures, drawn from the live methods."""

import streamlit as st

from ptviz.ui import surveying
from ptviz.ui.failures import explained

st.title("The survey")
st.markdown(surveying.INTRODUCTION)
with explained():
    surveying.taxonomy_section()
with explained():
    surveying.framework_section()
with explained():
    surveying.pair_section()
