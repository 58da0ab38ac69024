"""Default learning rates per backbone and method, from a sweep whose record ships as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """Return the sweep's best learning rate for this method on this backbone, or a fallback."""
    winners = load_sweep_winners()
    found = winners.get(backbone, {}).get(method)
    return float(found["lr"]) if found else fallback_learning_rate(method, winners)


def fallback_learning_rate(method: str, winners: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the rate of a method on a backbone without a sweep, given the winners of other backbones.

    It is at most the lowest rate that a sweep chose for the method: the weights of prompt encoders need far smaller
    steps than prompts.
    """
    return float(min([FALLBACK_LR, *(found[method]["lr"] for found in winners.values() if method in found)]))


def has_recorded_lr(method: str, backbone: str) -> bool:
    """Return whether the default comes from a sweep."""
    return method in load_sweep_winners().get(backbone, {})
