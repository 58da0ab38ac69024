"""The survey's methods, one file each; importing this package fills the registry in the survey's order."""

from ptviz.methods.base import REGISTRY, Card, Part, Probe, PromptMethod, Stage, build, fit
from ptviz.methods.prompt_tuning import PromptTuning  # isort: skip
from ptviz.methods.p_tuning_v2 import PTuningV2  # isort: skip
from ptviz.methods.dept import DePT  # isort: skip
from ptviz.methods.smop import SMoP  # isort: skip

__all__ = [
    "REGISTRY",
    "Card",
    "DePT",
    "PTuningV2",
    "Part",
    "Probe",
    "PromptMethod",
    "PromptTuning",
    "SMoP",
    "Stage",
    "build",
    "fit",
]
