"""Panels together: the survey's figure 2, and two methods side by side with what differs ringed."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.anatomy import Panel, differences
from ptviz.figures.anatomy import HALO, LEGEND, TALL, WIDE, draw_panel
from ptviz.figures.scene import Box, Element, Line, Scene, Sign, Text, bounds, moved
from ptviz.figures.style import GREY

_HEAD = 58.0


def draw_framework(panels: Sequence[Panel], columns: int = 4) -> Scene:
    """All panels in a grid under one legend; each opens its method."""
    columns = max(1, min(columns, len(panels)))
    width = max(columns * WIDE, 2 * WIDE)
    elements = legend(width)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        drawn = draw_panel(panel, link=bool(panel.trained))
        elements += moved(drawn.elements, column * WIDE, _HEAD + row * TALL)
    if not panels:
        elements.append(Text(width / 2, _HEAD + 60, "No method to draw.", 13))
    rows = -(-len(panels) // columns) if panels else 0
    names = ", ".join(panel.title for panel in panels) or "none"
    alt = f"Framework comparison of {len(panels)} panels, one a method: {names}. Each shows what enters the backbone."
    return Scene(width, _HEAD + max(rows * TALL, 100.0), tuple(elements), alt, "Framework comparison")


def draw_pair(one: Panel, other: Panel) -> Scene:
    """Two panels side by side; what the other has not is ringed in green."""
    left, right = differences(one, other)
    elements: list[Element] = [*draw_panel(one, left).elements, *moved(draw_panel(other, right).elements, WIDE + 14)]
    words = "ringed: only in this one of the two" if left or right else "the same kinds of parts; they differ in size"
    elements.append(Box(WIDE - 112, TALL + 12, 14, 12, "#A6E3CF", HALO, 2, radius=4))
    elements.append(Text(WIDE - 98, TALL + 12, words, 11, anchor="start"))
    told = [
        f"Only in {panel.title}: {', '.join(words_of(panel, keys)) or 'nothing'}."
        for panel, keys in ((one, left), (other, right))
    ]
    alt = f"{one.title} beside {other.title}. " + " ".join(told)
    return Scene(2 * WIDE + 14, TALL + 28, tuple(elements), alt, f"{one.title} and {other.title}")


def words_of(panel: Panel, keys: frozenset[str]) -> list[str]:
    """The items behind some keys, in words."""
    return [
        f"{item.kind} {item.label}" if item.kind in ("encoder", "router") else item.label
        for key, item in panel.items.items()
        if key in keys
    ]


def legend_scene(width: float) -> Scene:
    """The legend by itself."""
    elements = legend(width)
    _, _, _, bottom = bounds(elements)
    words = ", ".join(words for words, *_ in LEGEND)
    return Scene(width, bottom + 8, tuple(elements), f"Legend: {words}; matrix product, elementwise product, sum.")


def legend(width: float) -> list[Element]:
    """What every colour and sign of the panels means, on two lines."""
    elements: list[Element] = []
    x, y = 14.0, 16.0
    for words, fill, how, edge in LEGEND:
        long = 34 + 6.2 * len(words)
        if x + long > width:
            x, y = 14.0, y + 22
        elements.append(
            Box(
                x + 10,
                y,
                20,
                13,
                fill,
                edge or (GREY if how == "wedge" else ""),
                1.2,
                radius=2.5,
                wedge=how == "wedge",
                hatch="#EE9B5E" if how == "hatch" else "",
            )
        )
        elements.append(Text(x + 25, y, words, 11, anchor="start"))
        x += long
    for kind, words in (("product", "matrix product"), ("scaled", "elementwise"), ("sum", "sum")):
        long = 34 + 6.2 * len(words)
        if x + long > width:
            x, y = 14.0, y + 22
        elements += [Sign(x + 10, y, kind, 7), Text(x + 25, y, words, 11, anchor="start")]
        x += long
    if x + 230 > width:
        x, y = 14.0, y + 22
    elements.append(Line(((x, y), (x + 22, y)), dash=True))
    elements.append(Text(x + 28, y, "where it starts, before the last stage", 11, anchor="start"))
    return elements
