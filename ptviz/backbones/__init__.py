"""Frozen language models, and how prompts enter them."""

from ptviz.backbones.attention import BackboneError
from ptviz.backbones.base import Backbone, Readout
from ptviz.backbones.packaged import fetch_backbone
from ptviz.backbones.registry import (
    DEFAULT_BACKBONE,
    BackboneInfo,
    ExternalBackbone,
    list_backbones,
    load_backbone,
    load_tokeniser,
    read_readout_mode,
    select_device,
    wrap_model,
)

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "BackboneError",
    "BackboneInfo",
    "ExternalBackbone",
    "Readout",
    "fetch_backbone",
    "list_backbones",
    "load_backbone",
    "load_tokeniser",
    "read_readout_mode",
    "select_device",
    "wrap_model",
]
