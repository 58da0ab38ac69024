"""What the worker measures for pages that look inside a run, by name: each answer needs the run opened at a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ptviz.probes.logit_lens import measure_logit_lens
from ptviz.probes.low_rank import measure_embedding_shift, measure_low_rank, measure_saliency
from ptviz.probes.neurons import find_neurons
from ptviz.probes.routing import measure_forced_routing, measure_routing_by_task, measure_temperatures

PROBES: Mapping[str, Callable[..., dict[str, Any]]] = {
    "forced": measure_forced_routing,
    "tempered": measure_temperatures,
    "by-task": measure_routing_by_task,
    "ranks": measure_low_rank,
    "saliency": measure_saliency,
    "shift": measure_embedding_shift,
    "lens": measure_logit_lens,
    "neurons": find_neurons,
}
"""Each takes ``(Opened, Warm)`` and what its question brings along, and answers as its docstring says."""
