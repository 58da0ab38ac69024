from .base import Backbone, Readout
from .errors import BackboneError
from .listing import DEFAULT_BACKBONE, BackboneInfo, ExternalBackbone, list_backbones
from .loading import load_backbone, load_tokeniser, read_readout_mode, select_device, wrap_model
from .packaged import fetch_backbone

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
