"""The classes of the survey's methods: importing this module fills the registry in the survey's order.

Methods of other packages, declared as entry points of the group ``ptviz.methods``, follow in alphabetical order.
"""

from ptviz.entry_points import load_entry_points
from ptviz.methods.base import (
    MethodTensor,
    PromptMethod,
    RoutedMethod,
    Stage,
    StageContext,
    build_method,
    task_objective,
)
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.registry import REGISTRY
from ptviz.methods.static_prompt import StaticPrompt

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
from ptviz.methods.declaration import load_method_entry_point  # isort: skip

__all__ = [
    "ATTEMPT",
    "CTPT",
    "DPT",
    "MPT",
    "REGISTRY",
    "DePT",
    "MethodCard",
    "MethodTensor",
    "PTMoE",
    "PTuning",
    "PTuningV2",
    "PrefixTuning",
    "PromptMethod",
    "PromptTuning",
    "ReportedResult",
    "Residual",
    "RoutedMethod",
    "SMoP",
    "SPoTMulti",
    "SPoTSingle",
    "Stage",
    "StageContext",
    "StaticPrompt",
    "TransPrompt",
    "XPrompt",
    "build_method",
    "task_objective",
]

# Last: a module loaded here imports names from this one.
load_entry_points("ptviz.methods", load_method_entry_point)
