"""The parts of a method: products, factors, masks, networks."""

from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.look import decompositions, inspect_saved_prompt
from ptviz.ui.look.inspect_run import look

look("Decompositions", decompositions.LESSON, decompositions.show, still=inspect_saved_prompt.parts)
preload()
