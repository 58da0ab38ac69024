"""The parts of a method: products, factors, masks, networks."""

from ptviz.ui import factors, still
from ptviz.ui.inside import look
from ptviz.ui.live_plot import preload

look("Decompositions", factors.LESSON, factors.show, still=still.parts)
preload()
