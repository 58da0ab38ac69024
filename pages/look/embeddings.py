"""Prompt tokens among the words of the frozen backbone."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import embeddings, inspect_saved_prompt
from ptviz.ui.look.inspect_page import render_inspect_page

render_inspect_page(
    "Embeddings", embeddings.LESSON, embeddings.render_embeddings, still=inspect_saved_prompt.render_saved_embeddings
)
preload_plotly()
