"""Which input gets which prompt."""

from ptviz.ui import routes, still
from ptviz.ui.inside import look
from ptviz.ui.live_plot import preload

look("Routing", routes.LESSON, routes.show, routes.routed, still=still.routing)
preload()
