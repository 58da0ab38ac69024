"""The sizes of a backbone by its name."""

from __future__ import annotations

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.listing import list_backbones


def named_backbone_shape(backbone: str) -> BackboneShape | None:
    """Return the sizes of a backbone of ``list_backbones``, without loading it; None for any other name."""
    found = (info for info in list_backbones() if info.name == backbone)
    return next((BackboneShape(info.width, info.sites, info.heads, info.head_width) for info in found), None)
