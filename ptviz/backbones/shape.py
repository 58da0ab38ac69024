"""The sizes that a backbone offers a prompt."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What a backbone offers a prompt: embedding width, attention sites, key/value heads and their width."""

    width: int
    sites: int
    heads: int
    head_width: int


def sizes_of(backbone: str) -> Sizes | None:
    """The sizes of a backbone that has a name here; None for any other."""
    from ptviz.backbones.registry import catalogue

    with suppress(StopIteration):
        info = next(info for info in catalogue() if info.name == backbone)
        return Sizes(info.width, info.sites, info.heads, info.head_width)
    return None
