"""The backbones that have a name, as lists and forms show them: nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones import packaged
from ptviz.entry_points import load_entry_points, load_named

if TYPE_CHECKING:
    from ptviz.backbones.base import Backbone

DEFAULT_BACKBONE = "minilm-l6"
TITLES = {
    "minilm-l6": "all-MiniLM-L6-v2 (sentence encoder)",
    "smollm2-135m": "SmolLM2-135M-Instruct (decoder)",
    "gemma3-270m": "Gemma 3 270M (decoder)",
    "tiny-encoder": "Tiny encoder (random weights)",
    "tiny-decoder": "Tiny decoder, grouped heads (random weights)",
    "tiny-encoder-decoder": "Tiny encoder-decoder (random weights)",
}


@dataclass(frozen=True, kw_only=True)
class BackboneInfo(BackboneShape):
    """A named backbone as shown in lists: sizes, number of frozen parameters, and how to install it.

    ``parameters`` is 0 for random weights, which are not stored.
    """

    name: str
    title: str
    family: str
    layers: int
    parameters: int
    available: bool = True
    install_command: str = ""
    random: bool = False


_PACKAGED_INFOS = (
    BackboneInfo(
        name="minilm-l6", title=TITLES["minilm-l6"], family="encoder", layers=6, parameters=22_565_376,
        width=384, sites=6, heads=12, head_width=32,
    ),
    BackboneInfo(
        name="smollm2-135m", title=TITLES["smollm2-135m"], family="decoder", layers=30, parameters=134_515_008,
        width=576, sites=30, heads=3, head_width=64,
    ),
    BackboneInfo(
        name="gemma3-270m", title=TITLES["gemma3-270m"], family="decoder", layers=18, parameters=268_098_176,
        width=640, sites=18, heads=1, head_width=256,
    ),
)  # fmt: skip
_TINY_SIZES = {
    "tiny-encoder": ("encoder", 2, BackboneShape(width=32, sites=2, heads=4, head_width=8)),
    "tiny-decoder": ("decoder", 2, BackboneShape(width=32, sites=2, heads=2, head_width=8)),
    "tiny-encoder-decoder": ("encoder-decoder", 4, BackboneShape(width=32, sites=6, heads=4, head_width=8)),
}
_TINY_INFOS = [
    BackboneInfo(
        name=name, title=TITLES[name], family=family, layers=layers, parameters=0, random=True,
        **asdict(shape),
    )
    for name, (family, layers, shape) in _TINY_SIZES.items()
]  # fmt: skip


def list_backbones() -> list[BackboneInfo]:
    """Return the backbones that have a name: those of ptviz, then those of other packages.

    Any local folder in transformers' layout, and any Hub id, works as well.
    """
    ours = [
        replace(info, available=packaged.is_available(info.name), install_command=packaged.INSTALL_COMMANDS[info.name])
        for info in _PACKAGED_INFOS
    ]
    return [*ours, *_TINY_INFOS, *(external.info for external in external_backbones().values())]


def named_backbone(name: str) -> BackboneInfo | None:
    """Return the entry of a backbone by its name, without looking whether it is installed; None for any other name."""
    external = (external.info for external in external_backbones().values())
    return next((info for info in (*_PACKAGED_INFOS, *_TINY_INFOS, *external) if info.name == name), None)


def named_backbone_shape(name: str) -> BackboneShape | None:
    """Return the sizes of a backbone that has a name, without loading it; None for any other name."""
    info = named_backbone(name)
    return None if info is None else BackboneShape(info.width, info.sites, info.heads, info.head_width)


@dataclass(frozen=True)
class ExternalBackbone:
    """A backbone of another package: its list entry, and a function that loads it with frozen float32 weights.

    An entry point of the group ``ptviz.backbones`` names one of these. ``load`` is called without arguments and
    returns a ``Backbone``, for instance one made by ``wrap_model``.
    """

    info: BackboneInfo
    load: Callable[[], Backbone]


@cache
def external_backbones() -> dict[str, ExternalBackbone]:
    """Return the backbones of other packages by name."""
    return load_entry_points("ptviz.backbones", lambda point: load_named(point, ExternalBackbone, "backbone", TITLES))
