"""Prompt tokens among the words of the frozen backbone."""

from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.look import embeddings, inspect_saved_prompt
from ptviz.ui.look.inspect_run import look

look("Embeddings", embeddings.LESSON, embeddings.show, still=inspect_saved_prompt.embeddings)
preload()
