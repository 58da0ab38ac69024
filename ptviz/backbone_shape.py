"""The sizes of a frozen backbone, without the backbone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneShape:
    """The sizes that a prompt must fit: embedding width d, attention sites S, key/value heads H and their width h."""

    width: int
    sites: int
    heads: int
    head_width: int
