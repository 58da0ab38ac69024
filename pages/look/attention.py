"""What looks at which prompt token."""

from ptviz.ui import gazes, still
from ptviz.ui.inside import look
from ptviz.ui.live_plot import preload

look("Attention", gazes.LESSON, gazes.show, still=still.attention)
preload()
