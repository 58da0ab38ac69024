"""The sizes of a backbone by its name."""

from __future__ import annotations

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.listing import named_backbone


def named_backbone_shape(backbone: str) -> BackboneShape | None:
    """Return the sizes of a backbone of ``list_backbones``, without loading it; None for any other name."""
    info = named_backbone(backbone)
    return None if info is None else BackboneShape(info.width, info.sites, info.heads, info.head_width)
