"""The sizes that a backbone offers a prompt."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneShape:
    """What a backbone offers a prompt: embedding width, attention sites, key/value heads and their width."""

    width: int
    sites: int
    heads: int
    head_width: int


def named_backbone_shape(backbone: str) -> BackboneShape | None:
    """The sizes of a backbone that has a name here; None for any other."""
    from ptviz.backbones.registry import list_backbones

    with suppress(StopIteration):
        info = next(info for info in list_backbones() if info.name == backbone)
        return BackboneShape(info.width, info.sites, info.heads, info.head_width)
    return None
