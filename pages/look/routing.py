"""Routing: which input gets which prompt."""

from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.look import inspect_saved_prompt, routing
from ptviz.ui.look.inspect_page import render_inspect_page

render_inspect_page(
    "Routing",
    routing.LESSON,
    routing.render_routing,
    routing.has_routing,
    still=inspect_saved_prompt.render_saved_routing,
)
preload_plotly()
