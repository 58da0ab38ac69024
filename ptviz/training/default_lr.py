"""Default learning rates per backbone and method, from a sweep whose record ships as data."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

FALLBACK_LR = 0.02
"""Default without a sweep: the learning rate that worked on most backbones tried."""


@cache
def load_sweep_winners() -> dict[str, Any]:
    """Return the winners of the recorded sweep: ``{backbone: {method: {"lr", "steps_per_second", ...}}}``."""
    data: dict[str, Any] = json.loads((files("ptviz.training") / "lr_sweep_record.json").read_text())
    return data["winners"]  # type: ignore[no-any-return]


def default_learning_rate(method: str, backbone: str) -> float:
    """Return the sweep's best learning rate for this method on this backbone, or a fallback.

    The fallback is at most the lowest rate that the sweep chose for the method on any backbone: the weights of prompt
    encoders need far smaller steps than prompts.
    """
    chosen = {name: found[method]["lr"] for name, found in load_sweep_winners().items() if method in found}
    return float(chosen.get(backbone, min([FALLBACK_LR, *chosen.values()])))


def has_recorded_lr(method: str, backbone: str) -> bool:
    """Return whether the default comes from a sweep."""
    return method in load_sweep_winners().get(backbone, {})
