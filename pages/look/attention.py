"""What looks at which prompt token."""

from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.look import attention, inspect_saved_prompt
from ptviz.ui.look.inspect_run import look

look("Attention", attention.LESSON, attention.show, still=inspect_saved_prompt.attention)
preload()
