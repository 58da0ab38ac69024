"""Prompt tokens among the words of the frozen backbone."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import embeddings, saved_prompt
from ptviz.ui.look.look_page import render_look_page

render_look_page(
    "Embeddings", embeddings.LESSON, embeddings.render_embeddings, still=saved_prompt.render_saved_embeddings
)
preload_plotly()
