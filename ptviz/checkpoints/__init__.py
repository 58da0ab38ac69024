"""The only place that opens a stranger's file: sniffing, one reader a format, and the process they run in.

``open_checkpoint(path)`` gives a ``PromptBundle`` or raises ``CheckpointError``. Nothing is ever unpickled with code.
"""

from ptviz.checkpoints.bundle import Capability, NamedAxesArray, PromptBundle
from ptviz.checkpoints.diagnostics import BackboneReference, PromptDiagnostics, diagnose
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.sandbox.parent import open_checkpoint

__all__ = [
    "BackboneReference",
    "Capability",
    "CheckpointError",
    "NamedAxesArray",
    "PromptBundle",
    "PromptDiagnostics",
    "diagnose",
    "open_checkpoint",
]
