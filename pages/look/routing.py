"""Which input gets which prompt."""

from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.look import inspect_saved_prompt, routing
from ptviz.ui.look.inspect_run import look

look("Routing", routing.LESSON, routing.show, routing.routed, still=inspect_saved_prompt.routing)
preload()
