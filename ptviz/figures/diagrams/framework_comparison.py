"""Panels together: the survey's figure 2, and two methods side by side with what differs ringed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ptviz.analysis.method_diagram import Panel, differences
from ptviz.figures.diagrams.method import HALO, LEGEND, WIDE, draw_panel, height_of
from ptviz.figures.diagrams.method_text import listed
from ptviz.figures.diagrams.scene import Box, Element, Line, Scene, Sign, Text, bounds, moved
from ptviz.figures.diagrams.taxonomy import FAMILIES
from ptviz.figures.style import GREY

_LEGEND, _HEAD = 58.0, 34.0
"""Heights of the legend above all panels, and of the words above a group of them."""
Group = tuple[tuple[str, ...], list[Panel]]


def draw_framework(panels: Sequence[Panel], columns: int = 4) -> Scene:
    """All panels under one legend, those of one group of the survey's tree side by side; each opens its method."""
    columns = max(1, min(columns, len(panels)))
    width = max(columns, 2) * WIDE
    rows = _rows(panels, columns)
    # A lone first panel, as the backbone's is, leaves room beside it.
    beside = len(rows) > 1 and columns > 2 and sum(len(group) for _, group in rows[0]) == 1
    y = 0.0 if beside else _LEGEND
    elements = moved(legend(width - WIDE - 40), WIDE + 20, 46) if beside else legend(width)
    families = list(dict.fromkeys(panel.branch[0] for panel in panels if panel.branch))
    for row in rows:
        tall = max(height_of(panel) for _, group in row for panel in group)
        headed = any(branch for branch, _ in row)
        x = 0.0
        for branch, group in row:
            if branch:
                elements += _heading(branch, x, y, len(group) * WIDE, families.index(branch[0]))
            for panel in group:
                drawn = draw_panel(panel, link=bool(panel.trained), tall=tall)
                elements += moved(drawn.elements, x, y + _HEAD * headed)
                x += WIDE
        y += tall + _HEAD * headed
    if not panels:
        elements.append(Text(width / 2, y + 40, "No method to draw.", 13))
        y += 100
    names = ", ".join(panel.title for panel in panels) or "none"
    alt = f"Framework comparison of {len(panels)} panels, one a method: {names}. Each shows what enters the backbone."
    return Scene(width, y + 4, tuple(elements), alt, "Framework comparison", listed(panels))


def _rows(panels: Sequence[Panel], columns: int) -> list[list[Group]]:
    """Groups of the tree in rows of at most so many panels; a group is broken only if it is longer than a row."""
    rows: list[list[Group]] = [[]]
    for branch, own in groupby(panels, key=lambda panel: panel.branch[:2]):
        members = list(own)
        for first in range(0, len(members), columns):
            group = members[first : first + columns]
            if sum(len(other) for _, other in rows[-1]) + len(group) > columns:
                rows.append([])
            rows[-1].append((branch, group))
    return [row for row in rows if row]


def _heading(branch: tuple[str, ...], x: float, y: float, width: float, family: int) -> list[Element]:
    """A group's name over its panels, in the colour its family has in the tree."""
    strong, _ = FAMILIES[family % len(FAMILIES)]
    return [
        Box(x + width / 2, y + 29, width - 8, 3, strong, radius=1.5),
        Text(x + 6, y + 17, " · ".join(branch), 13, bold=True, anchor="start"),
    ]


def draw_pair(one: Panel, other: Panel) -> Scene:
    """Two panels side by side; what the other has not is ringed in green."""
    left, right = differences(one, other)
    tall = max(height_of(one), height_of(other))
    elements: list[Element] = [
        *draw_panel(one, left, tall=tall).elements,
        *moved(draw_panel(other, right, tall=tall).elements, WIDE + 14),
    ]
    words = "ringed: only in this one of the two" if left or right else "the same kinds of parts; they differ in size"
    elements.append(Box(WIDE - 112, tall + 12, 14, 12, "#A6E3CF", HALO, 2, radius=4))
    elements.append(Text(WIDE - 98, tall + 12, words, 11, anchor="start"))
    told = [
        f"Only in {panel.title}: {', '.join(words_of(panel, keys)) or 'nothing'}."
        for panel, keys in ((one, left), (other, right))
    ]
    alt = f"{one.title} beside {other.title}. " + " ".join(told)
    head, *rows = listed([one, other])
    alone = [key in keys for panel, keys in ((one, left), (other, right)) for key in panel.items]
    table = ((*head, "only here"), *((*row, "yes" if only else "no") for row, only in zip(rows, alone, strict=True)))
    return Scene(2 * WIDE + 14, tall + 28, tuple(elements), alt, f"{one.title} and {other.title}", table)


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
    """What every colour and sign of the panels means, on as many lines as it takes."""
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
