"""Frozen language models, and the one door through which prompts enter them."""

from ptviz.backbones.attention import BackboneError
from ptviz.backbones.base import Backbone, Readout
from ptviz.backbones.packaged import get
from ptviz.backbones.registry import DEFAULT, BackboneInfo, catalogue, load_backbone, pick_device, wrap

__all__ = [
    "DEFAULT",
    "Backbone",
    "BackboneError",
    "BackboneInfo",
    "Readout",
    "catalogue",
    "get",
    "load_backbone",
    "pick_device",
    "wrap",
]
