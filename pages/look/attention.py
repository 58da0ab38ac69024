"""Attention of the text and the answer to each prompt token."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import attention, inspect_saved_prompt
from ptviz.ui.look.inspect_page import render_inspect_page

render_inspect_page(
    "Attention", attention.LESSON, attention.render_run_attention, still=inspect_saved_prompt.render_saved_attention
)
preload_plotly()
