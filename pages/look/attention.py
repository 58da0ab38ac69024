"""Attention of the text and the answer to each prompt token."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import attention, saved_prompt
from ptviz.ui.look.look_page import render_look_page

render_look_page(
    "Attention", attention.LESSON, attention.render_run_attention, still=saved_prompt.render_saved_attention
)
preload_plotly()
