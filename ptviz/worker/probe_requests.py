"""What the worker measures for pages that look inside a run, by name: each answer needs the run opened at a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ptviz.probes.logit_lens import read_prompt
from ptviz.probes.low_rank import ranks, saliency, shift
from ptviz.probes.neurons import neurons
from ptviz.probes.routing import by_task, forced, tempered

MEASURES: Mapping[str, Callable[..., dict[str, Any]]] = {
    "forced": forced,
    "tempered": tempered,
    "by-task": by_task,
    "ranks": ranks,
    "saliency": saliency,
    "shift": shift,
    "lens": read_prompt,
    "neurons": neurons,
}
"""Each takes ``(Opened, Warm)`` and what its question brings along, and answers as its docstring says."""
