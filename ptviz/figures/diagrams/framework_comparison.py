"""The survey's figure 2 with all methods, and two methods side by side with their differences ringed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ptviz.analysis.method_diagram import DiagramPanel, panel_differences
from ptviz.figures.diagrams.method import HIGHLIGHT, LEGEND, PANEL_WIDTH, draw_panel, panel_height
from ptviz.figures.diagrams.method_text import table_rows
from ptviz.figures.diagrams.scene import Box, Element, Line, OperatorSign, Scene, TextLabel, bounding_box, transform
from ptviz.figures.diagrams.taxonomy import FAMILY_COLOURS
from ptviz.figures.style import GREY

_LEGEND_HEIGHT, _HEADING_HEIGHT = 58.0, 34.0
"""Least height in pixels of the legend above all panels, and the height of the heading of a group of them."""
PanelGroup = tuple[tuple[str, ...], list[DiagramPanel]]


def draw_framework(panels: Sequence[DiagramPanel], columns: int = 4) -> Scene:
    """Draw all panels under one legend, grouped as in the survey's taxonomy; each opens its method's page."""
    columns = max(1, min(columns, len(panels)))
    width = columns * PANEL_WIDTH
    rows = _arrange_rows(panels, columns)
    # A single first panel, as the backbone's is, leaves room for the legend next to it.
    beside = len(rows) > 1 and columns > 2 and sum(len(group) for _, group in rows[0]) == 1
    if beside:
        y, elements = 0.0, transform(legend_elements(width - PANEL_WIDTH - 40), PANEL_WIDTH + 20, 46)
    else:
        elements = legend_elements(width)
        y = max(_LEGEND_HEIGHT, bounding_box(elements)[3] + 12)
    families = list(dict.fromkeys(panel.branch[0] for panel in panels if panel.branch))
    for row in rows:
        tall = max(panel_height(panel) for _, group in row for panel in group)
        headed = any(branch for branch, _ in row)
        x = 0.0
        for branch, group in row:
            if branch:
                elements += _draw_heading(branch, x, y, len(group) * PANEL_WIDTH, families.index(branch[0]))
            for panel in group:
                drawn = draw_panel(panel, link=bool(panel.trainable_parameters), tall=tall)
                elements += transform(drawn.elements, x, y + _HEADING_HEIGHT * headed)
                x += PANEL_WIDTH
        y += tall + _HEADING_HEIGHT * headed
    if not panels:
        elements.append(TextLabel(width / 2, y + 40, "No method to draw.", 13))
        y += 100
    names = ", ".join(panel.title for panel in panels) or "none"
    alt = f"Framework comparison of {len(panels)} panels, one per method: {names}. Each shows what enters the backbone."
    return Scene(width, y + 4, tuple(elements), alt, "Framework comparison", table_rows(panels))


def _arrange_rows(panels: Sequence[DiagramPanel], columns: int) -> list[list[PanelGroup]]:
    """Arrange the groups in rows of at most ``columns`` panels; only a group longer than a row is split."""
    rows: list[list[PanelGroup]] = [[]]
    for branch, own in groupby(panels, key=lambda panel: panel.branch[:2]):
        members = list(own)
        for first in range(0, len(members), columns):
            group = members[first : first + columns]
            if sum(len(other) for _, other in rows[-1]) + len(group) > columns:
                rows.append([])
            rows[-1].append((branch, group))
    return [row for row in rows if row]


def _draw_heading(branch: tuple[str, ...], x: float, y: float, width: float, family: int) -> list[Element]:
    """Draw a group's name above its panels, in the colour of its family in the taxonomy."""
    strong, _ = FAMILY_COLOURS[family % len(FAMILY_COLOURS)]
    return [
        Box(x + width / 2, y + 29, width - 8, 3, strong, radius=1.5),
        TextLabel(x + 6, y + 17, " · ".join(branch), 13, bold=True, anchor="start"),
    ]


def draw_pair(one: DiagramPanel, other: DiagramPanel) -> Scene:
    """Draw two panels side by side; items that only one of them has are ringed in green."""
    left, right = panel_differences(one, other)
    tall = max(panel_height(one), panel_height(other))
    elements: list[Element] = [
        *draw_panel(one, left, tall=tall).elements,
        *transform(draw_panel(other, right, tall=tall).elements, PANEL_WIDTH + 14),
    ]
    words = "ringed: only in this one of the two" if left or right else "the same kinds of items; they differ in size"
    elements.append(Box(PANEL_WIDTH - 112, tall + 12, 14, 12, "#A6E3CF", HIGHLIGHT, 2, radius=4))
    elements.append(TextLabel(PANEL_WIDTH - 98, tall + 12, words, 11, anchor="start"))
    described = [
        f"Only in {panel.title}: {', '.join(describe_items(panel, keys)) or 'nothing'}."
        for panel, keys in ((one, left), (other, right))
    ]
    alt = " ".join([f"{one.title} and {other.title}.", *_compare_origins(one, other), *described])
    head, *rows = table_rows([one, other])
    unique = [key in keys for panel, keys in ((one, left), (other, right)) for key in panel.items]
    table = ((*head, "only here"), *((*row, "yes" if only else "no") for row, only in zip(rows, unique, strict=True)))
    return Scene(2 * PANEL_WIDTH + 14, tall + 28, tuple(elements), alt, f"{one.title} and {other.title}", table)


def _compare_origins(one: DiagramPanel, other: DiagramPanel) -> list[str]:
    """Say where what enters the backbone comes from, if one method trains it and the other computes it."""
    sentences = []
    for name, keys in (("prompt", (one.prompt, other.prompt)), ("keys and values", (one.key_values, other.key_values))):
        items = [p.items[key] for p, key in zip((one, other), keys, strict=True) if key in p.items]
        if len(items) == 2 and items[0].state != items[1].state:
            made = [f"{i.label} {'trained itself' if i.state == 'trained' else 'computed'}" for i in items]
            sentences.append(
                f"Both have a {name}: in {one.title} {made[0]}, in {other.title} {made[1]}.".replace("a k", "k")
            )
    return sentences


def describe_items(panel: DiagramPanel, keys: frozenset[str]) -> list[str]:
    """Describe the items of some keys, one text per item."""
    return [
        f"{item.kind} {item.label}" if item.kind in ("encoder", "router") else item.label
        for key, item in panel.items.items()
        if key in keys
    ]


def draw_legend(width: float) -> Scene:
    """Draw the legend without panels."""
    elements = legend_elements(width)
    _, _, _, bottom = bounding_box(elements)
    words = ", ".join(words for words, *_ in LEGEND)
    return Scene(width, bottom + 8, tuple(elements), f"Legend: {words}; matrix product, elementwise product, sum.")


def legend_elements(width: float) -> list[Element]:
    """Return the elements of the legend: every colour and sign of the panels, on as many lines as needed."""
    elements: list[Element] = []
    x, y = 14.0, 16.0
    for words, fill, how, edge in LEGEND:
        long = 34 + 6.2 * len(words)
        if x + long > width:
            x, y = 14.0, y + 22
        wedge, hatch = how == "wedge", "#EE9B5E" if how == "hatch" else ""
        line = edge or (GREY if wedge else "")
        elements.append(Box(x + 10, y, 20, 13, fill, line, 1.2, radius=2.5, wedge=wedge, hatch=hatch))
        elements.append(TextLabel(x + 25, y, words, 11, anchor="start"))
        x += long
    for kind, words in (("product", "matrix product"), ("scaled", "elementwise"), ("sum", "sum")):
        long = 34 + 6.2 * len(words)
        if x + long > width:
            x, y = 14.0, y + 22
        elements += [OperatorSign(x + 10, y, kind, 7), TextLabel(x + 25, y, words, 11, anchor="start")]
        x += long
    if x + 230 > width:
        x, y = 14.0, y + 22
    elements.append(Line(((x, y), (x + 22, y)), dash=True))
    elements.append(TextLabel(x + 28, y, "initialisation, before the last stage", 11, anchor="start"))
    return elements
