"""The only place that opens a stranger's file: sniffing, one reader a format, and the process they run in.

``open_checkpoint(path)`` gives a ``PromptBundle`` or raises ``CheckpointError``. Nothing is ever unpickled with code.
"""

from ptviz.checkpoints.bundle import PromptBundle, Use, Values
from ptviz.checkpoints.diagnostics import Facts, Ground, examine
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.sandbox.parent import open_checkpoint

__all__ = ["CheckpointError", "Facts", "Ground", "PromptBundle", "Use", "Values", "examine", "open_checkpoint"]
