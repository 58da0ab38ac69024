"""All terms of the glossary."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_glossary

st.title("Glossary")
st.markdown(
    "The words of the field that the pages use. On every page, a word with a dotted line shows its meaning when "
    "you point at it or move to it with the Tab key."
)
with show_errors():
    render_glossary()
