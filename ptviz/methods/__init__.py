"""The survey's methods, one file each; importing this package fills the registry in the survey's order."""

from ptviz.methods.base import REGISTRY, Card, Claim, Part, Probe, PromptMethod, Stage, build, fit
from ptviz.methods.static_prompt import Folded
from ptviz.methods.prompt_tuning import PromptTuning  # isort: skip
from ptviz.methods.xprompt import XPrompt  # isort: skip
from ptviz.methods.p_tuning_v2 import PTuningV2  # isort: skip
from ptviz.methods.p_tuning import PTuning  # isort: skip
from ptviz.methods.residual import Residual  # isort: skip
from ptviz.methods.prefix_tuning import PrefixTuning  # isort: skip
from ptviz.methods.dpt import DPT  # isort: skip
from ptviz.methods.dept import DePT  # isort: skip
from ptviz.methods.smop import SMoP  # isort: skip
from ptviz.methods.pt_moe import PTMoE  # isort: skip
from ptviz.methods.spot_single import SPoTSingle  # isort: skip
from ptviz.methods.spot_multi import SPoTMulti  # isort: skip
from ptviz.methods.attempt import ATTEMPT  # isort: skip
from ptviz.methods.transprompt import TransPrompt  # isort: skip
from ptviz.methods.ctpt import CTPT  # isort: skip
from ptviz.methods.mpt import MPT  # isort: skip

__all__ = [
    "ATTEMPT",
    "CTPT",
    "DPT",
    "MPT",
    "REGISTRY",
    "Card",
    "Claim",
    "DePT",
    "Folded",
    "PTMoE",
    "PTuning",
    "PTuningV2",
    "Part",
    "PrefixTuning",
    "Probe",
    "PromptMethod",
    "PromptTuning",
    "Residual",
    "SMoP",
    "SPoTMulti",
    "SPoTSingle",
    "Stage",
    "TransPrompt",
    "XPrompt",
    "build",
    "fit",
]
