"""The tensors of a method: products, factors, masks, networks."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import decompositions, saved_prompt
from ptviz.ui.look.look_page import render_look_page

render_look_page(
    "Decompositions",
    decompositions.LESSON,
    decompositions.render_decompositions,
    still=saved_prompt.render_saved_tensors,
)
preload_plotly()
