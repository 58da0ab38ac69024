"""Frozen language models, and the one door through which prompts enter them."""

from ptviz.backbones.attention import BackboneError
from ptviz.backbones.backbone import Backbone, Readout
from ptviz.backbones.embedded import get
from ptviz.backbones.load import DEFAULT, BackboneInfo, catalogue, load_backbone, pick_device, wrap

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
