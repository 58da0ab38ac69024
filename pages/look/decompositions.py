"""The tensors of a method: products, factors, masks, networks."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import decompositions, inspect_saved_prompt
from ptviz.ui.look.inspect_page import render_inspect_page

render_inspect_page(
    "Decompositions",
    decompositions.LESSON,
    decompositions.render_decompositions,
    still=inspect_saved_prompt.render_saved_tensors,
)
preload_plotly()
