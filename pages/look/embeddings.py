"""Prompt tokens among the words of the frozen backbone."""

from ptviz.ui import embedding, still
from ptviz.ui.inside import look
from ptviz.ui.live_plot import preload

look("Embeddings", embedding.LESSON, embedding.show, still=still.embeddings)
preload()
