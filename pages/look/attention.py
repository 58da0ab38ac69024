"""What looks at which prompt token."""

from ptviz.ui import gazes
from ptviz.ui.inside import look
from ptviz.ui.live_plot import preload

look("Attention", gazes.LESSON, gazes.show)
preload()
