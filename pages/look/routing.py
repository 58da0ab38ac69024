"""Routing: which input gets which prompt."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import routing, saved_prompt
from ptviz.ui.look.look_page import render_look_page

render_look_page(
    "Routing",
    routing.LESSON,
    routing.render_routing,
    routing.has_routing,
    still=saved_prompt.render_saved_routing,
)
preload_plotly()
