"""For teachers: what the lessons need, how long they take, and their answers."""

import streamlit as st

from ptviz.ui.components.errors import show_errors
from ptviz.ui.lessons import teacher

st.title("For teachers")
st.markdown(teacher.INTRODUCTION)
with show_errors():
    teacher.render_teacher_page()
