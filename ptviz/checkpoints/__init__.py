"""Safe reading of untrusted checkpoints: format detection, one reader per format, and a sandboxed process.

``open_checkpoint(path)`` returns a ``PromptBundle`` or raises ``CheckpointError``. No code in a file is ever executed.
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
