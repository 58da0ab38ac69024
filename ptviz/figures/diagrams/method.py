"""The diagram of one method in the survey's style, drawn from the live module by one routine for every method.

Blue is frozen, lilac the input, orange the soft prompt, pale salmon keys and values inside the backbone, pink an
encoder or a router (a wedge), hatched the result of an operation; product and sum are circled signs.
Source of the style: Li, Su and Collier, "A Survey on Prompt Tuning", 2025, figure 2, https://arxiv.org/abs/2507.06085
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np

from ptviz.analysis.method_diagram import DiagramEdge, DiagramItem, DiagramPanel
from ptviz.figures.diagrams.layout import LABEL_HEIGHT, OPERATORS, PanelLayout, arrange_panel
from ptviz.figures.diagrams.method_text import STATE_LABELS, describe_panel, format_shape, table_rows
from ptviz.figures.diagrams.scene import (
    DARK,
    WHITE,
    Box,
    Element,
    HeatmapCells,
    Line,
    OperatorSign,
    Scene,
    TextLabel,
    bounding_box,
    transform,
)
from ptviz.figures.style import FROZEN, GREY, PROMPT, PURPLE

LILAC, ORANGE, SALMON, PINK = "#B9A6E0", "#F59A52", "#FBD0BE", "#F3B4D2"
PALE_LILAC, PALE_ORANGE = "#E4DCF4", "#FCE0C8"
HIGHLIGHT = "#009E73"
PANEL_WIDTH = 318.0
"""Width of one panel in pixels; its height is that of its contents."""
MIN_FONT_SIZE = 8.5
"""The smallest size of text in a panel, in pixels."""
_HEADER_HEIGHT, _BACKBONE_HEIGHT, _FOOTER_HEIGHT, _NOTE_LINE_HEIGHT = 52.0, 54.0, 42.0, 13.0
_MAX_DIAGRAM_HEIGHT = 300.0
"""Largest height in pixels of the diagram below the backbone; a taller one is scaled down."""
LEGEND = (
    ("frozen backbone", FROZEN, "", ""),
    ("input", LILAC, "", ""),
    ("soft prompt, trained", ORANGE, "", ""),
    ("keys and values inside", SALMON, "", PROMPT),
    ("encoder", PINK, "", ""),
    ("router", PINK, "wedge", ""),
    ("processed", PALE_ORANGE, "hatch", PROMPT),
    ("held fixed", PALE_ORANGE, "", FROZEN),
)


def format_count(count: int) -> str:
    """Format a count with three digits: 3,840 or 22.6 M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if count >= size:
            return f"{count / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{count:,}"


def draw_panel(
    panel: DiagramPanel, highlight: frozenset[str] = frozenset(), link: bool = False, tall: float | None = None
) -> Scene:
    """Draw one method's panel; ``highlight`` rings some items, ``link`` makes it open the method's page.

    ``tall`` is its height in pixels, by default that of its contents.
    """
    places = arrange_panel(panel)
    inside = [*_draw_edges(panel, places), *_draw_items(panel, places, highlight)]
    left, _, right, bottom = bounding_box(inside)
    scale = _panel_scale(left, right, bottom)
    tall = tall or _panel_height(panel, scale * bottom)
    dx, dy = PANEL_WIDTH / 2 - scale * (left + right) / 2, _HEADER_HEIGHT + _BACKBONE_HEIGHT + 26
    opens, hover = (panel.name, f"{panel.title}, {panel.citation}") if link else ("", "")
    elements: list[Element] = [
        Box(PANEL_WIDTH / 2, tall / 2, PANEL_WIDTH - 8, tall - 8, "", GREY, 0.8, radius=8, link=opens, hover=hover),
        _fit_text(TextLabel(18, 21, panel.title, 15, bold=True, anchor="start")),
        _fit_text(TextLabel(18, 38, panel.citation, 10, anchor="start", faint=True)),
        *_draw_backbone(panel),
        *(_enforce_min_font(element) for element in transform(inside, dx, dy, scale)),
        *_draw_input_arrows(panel, places, dx, dy, scale),
        *_draw_footer(panel, tall),
    ]
    return Scene(PANEL_WIDTH, tall, tuple(elements), describe_panel(panel), panel.title, table_rows([panel]))


def panel_height(panel: DiagramPanel) -> float:
    """Return the height of a panel's contents in pixels."""
    left, _, right, bottom = bounding_box(
        [*_draw_edges(panel, places := arrange_panel(panel)), *_draw_items(panel, places, frozenset())]
    )
    return _panel_height(panel, _panel_scale(left, right, bottom) * bottom)


def _panel_scale(left: float, right: float, bottom: float) -> float:
    return min(1.15, (PANEL_WIDTH - 36) / max(right - left, 1.0), _MAX_DIAGRAM_HEIGHT / max(bottom, 1.0))


def _panel_height(panel: DiagramPanel, below: float) -> float:
    note = _NOTE_LINE_HEIGHT * len(_wrap_note(panel))
    return _HEADER_HEIGHT + _BACKBONE_HEIGHT + 26 + below + 12 + _FOOTER_HEIGHT + note


def _wrap_note(panel: DiagramPanel) -> list[str]:
    """Wrap the note into lines of about equal length."""
    lines = -(-len(panel.note) // 52)
    return textwrap.wrap(panel.note, len(panel.note) // lines + 5) if lines else []


def _fit_text(text: TextLabel) -> TextLabel:
    """Shrink a text in the head of a panel that would be wider than the panel."""
    room = PANEL_WIDTH - 18 - text.x
    return replace(text, size=text.size * room / text.estimated_width) if text.estimated_width > room else text


def _enforce_min_font(element: Element) -> Element:
    """Keep text readable in a diagram that is scaled down."""
    return replace(element, size=max(element.size, MIN_FONT_SIZE)) if isinstance(element, TextLabel) else element


def _draw_backbone(panel: DiagramPanel) -> list[Element]:
    """Draw the frozen box, with bands of keys and values if there are any."""
    centre, wide = _HEADER_HEIGHT + _BACKBONE_HEIGHT / 2, PANEL_WIDTH - 36
    hover = "frozen backbone: none of its parameters is trained"
    drawn: list[Element] = [Box(PANEL_WIDTH / 2, centre, wide, _BACKBONE_HEIGHT, FROZEN, radius=7, hover=hover)]
    size = f"{format_count(panel.frozen_parameters)} parameters" if panel.frozen_parameters else "frozen"
    x = PANEL_WIDTH / 2
    if panel.key_values is not None:
        x = PANEL_WIDTH / 2 + 40
        for i in range(3):
            y = _HEADER_HEIGHT + 10 + 17 * i
            drawn.append(Box(PANEL_WIDTH / 2, y, wide - 12, 13, "#2A88BF", radius=3))
            band = "trained keys and values, prepended at every attention site"
            drawn.append(Box(18 + 6 + 38, y, 72, 13, SALMON, PROMPT, radius=3, hover=band))
        drawn.append(TextLabel(62, _HEADER_HEIGHT + 27, "K, V", 10, bold=True, colour=DARK))
    drawn.append(TextLabel(x, centre - 8, "frozen backbone", 13, bold=True, colour=WHITE))
    drawn.append(TextLabel(x, centre + 10, f"{size}, {panel.sites} attention sites", 10, colour=WHITE))
    return drawn


def _draw_input_arrows(panel: DiagramPanel, places: PanelLayout, dx: float, dy: float, scale: float) -> list[Element]:
    """Draw the arrows from the items next to the backbone into it."""
    drawn: list[Element] = []
    entry = _HEADER_HEIGHT + _BACKBONE_HEIGHT
    for key in (panel.key_values, panel.prompt, panel.tokens):
        if key is None:
            continue
        x, y = places.centre[key] * scale + dx, places.top_edge(key) * scale + dy - 2
        if key == panel.key_values and x > 98:
            drawn.append(Line(((x, y), (x, entry + 12), (62, entry + 12), (62, entry + 2))))
        else:
            drawn.append(Line(((x, y), (x, entry + 2))))
    return drawn


def _draw_footer(panel: DiagramPanel, tall: float) -> list[Element]:
    if not panel.trainable_parameters:
        return [TextLabel(PANEL_WIDTH / 2, tall - 22, "nothing is trained", 11)]
    trained, frozen, stored = panel.trainable_parameters, panel.frozen_parameters, panel.stored_parameters
    counts = f"{trained:,} trained" + (f", {trained / frozen:.3%} of the backbone" if frozen else "")
    tokens = f"{panel.slots} prompt tokens" if panel.slots else "no prompt tokens in the input"
    tokens += f", {format_count(stored)} stored" if stored != trained else ""
    note = _wrap_note(panel)
    x, top = PANEL_WIDTH / 2, tall - _FOOTER_HEIGHT - _NOTE_LINE_HEIGHT * len(note)
    return [
        *(TextLabel(x, top + _NOTE_LINE_HEIGHT * i, line, 10, italic=True) for i, line in enumerate(note)),
        TextLabel(x, tall - 30, counts, 11, bold=True),
        TextLabel(x, tall - 15, tokens, 10, faint=True),
    ]


def _draw_items(panel: DiagramPanel, places: PanelLayout, highlight: frozenset[str]) -> list[Element]:
    drawn: list[Element] = []
    for key, item in panel.items.items():
        x, y, (w, h) = places.centre[key], places.y[key], places.size[key]
        if key in highlight:
            drawn.append(Box(x, y, w + 7, h + 7, "#A6E3CF", HIGHLIGHT, 2, radius=7))
        if item.kind in OPERATORS:
            drawn.append(OperatorSign(x, y, item.kind, hover=_OPERATOR_NAMES[item.kind]))
            if item.kind == "mean":
                drawn.append(TextLabel(x, y + 16, "mean", 9, faint=True))
        elif item.kind in ("encoder", "router"):
            drawn += _draw_module(item, x, y, w, h)
        else:
            drawn += _draw_tensor(item, x, y, w, h)
    return drawn


_OPERATOR_NAMES = dict(zip(OPERATORS, ("matrix product", "elementwise product", "sum", "mean of both"), strict=True))
_ROUTING_LABELS = {"one": "picks one", "some": "picks some", "mix": "mixes all"}


def _draw_module(item: DiagramItem, x: float, y: float, w: float, h: float) -> list[Element]:
    state = "trained" if item.state == "trained" else "held fixed"
    hover = f"{item.label}: {item.scalars:,} parameters, {state}"
    how = _ROUTING_LABELS.get("".join(item.axes), "")
    hover += f"; {how}" if how else ""
    edge = PURPLE if item.state == "trained" else FROZEN
    count = f"{format_count(item.scalars)} parameters" if item.scalars else "no parameters"
    name = TextLabel(x, y - 6, item.label, 11, bold=True, colour=DARK)
    if item.kind == "router":
        name = replace(name, y=y - 7, size=10.5)
        count = how + (f" · {format_count(item.scalars)}" if item.scalars else "")
    box = Box(x, y, w, h, PINK, edge, 1.2, wedge=item.kind == "router", hover=hover)
    return [box, name, TextLabel(x, y + 8, count, 8.5, colour=DARK)]


def _block_colours(item: DiagramItem) -> tuple[str, str, str]:
    """Return fill, edge and hatching of a block."""
    if item.kind in ("input", "examples"):
        return LILAC, "", ""
    if item.kind == "result" and item.axes[:1] == ("T",):
        return PALE_LILAC, LILAC, LILAC
    if item.state == "processed":
        return PALE_ORANGE, PROMPT, "#EE9B5E"
    if item.state == "frozen":
        return PALE_ORANGE, FROZEN, ""
    return ORANGE, PROMPT, ""


def _draw_tensor(item: DiagramItem, x: float, y: float, w: float, h: float) -> list[Element]:
    fill, edge, hatch = _block_colours(item)
    behind = min(item.stack - 1, 3) if item.stack > 1 else 0
    w, h, x, y = w - 4 * behind, h - 4 * behind, x - 2 * behind, y + 2 * behind
    hover = f"{item.label}: {format_shape(item)}, {STATE_LABELS[item.state]}"
    drawn: list[Element] = []
    for i in range(behind, 0, -1):
        drawn.append(Box(x + 4 * i, y - 4 * i, w, h, fill, edge or WHITE, radius=2.5))
    heat = item.values is not None and item.kind != "input"
    limit = float(np.nanpercentile(np.abs(item.values), 98)) or 1.0 if heat and item.values is not None else 0.0
    hover += f"; full colour at ±{limit:.2g}" if heat else ""
    edge = edge or (WHITE if behind else "")
    drawn.append(Box(x, y, w, h, fill, edge, 1.2, radius=2.5, hatch="" if heat else hatch, hover=hover))
    shape = format_shape(item)
    if heat and item.values is not None:
        drawn.append(HeatmapCells(x, y, w - 5, h - 5, item.values, limit))
        drawn += _draw_mask(item, x, y, w, h) if item.masks else []
        shape = f"{item.label}  {shape}"
    else:
        drawn += _draw_mask(item, x, y, w, h) if item.masks else []
        drawn += _draw_label(item, x, y, w, h, hatch != "")
    if behind:
        # Above, next to the arrow that starts in the middle.
        drawn.append(TextLabel(x + 2 * behind + 6, y - h / 2 - 4 * behind - 6.5, f"1…{item.stack}", 9, anchor="start"))
    if shape:
        drawn.append(TextLabel(x, y + h / 2 + LABEL_HEIGHT - 5, shape, 9, faint=True))
    return drawn


def _draw_label(item: DiagramItem, x: float, y: float, w: float, h: float, hatched: bool) -> list[Element]:
    words = "your text" if item.kind == "input" else item.label
    size = 12.0 if w > 30 and h > 16 else 10.0
    label = TextLabel(x, y, words, size, bold=True, colour=DARK)
    if label.estimated_width > w - 4 and len(words) > 3:
        label = replace(label, size=size * (w - 4) / label.estimated_width)
    if not hatched:
        return [label]
    # A plain background: hatching must not cross the text.
    fill = PALE_LILAC if item.axes[:1] == ("T",) else PALE_ORANGE
    return [Box(x, y, label.estimated_width + 6, size + 4, fill), label]


def _draw_mask(item: DiagramItem, x: float, y: float, w: float, h: float) -> list[Element]:
    """Draw the pruned share of each row in grey; before any pruning, one band as a sign."""
    by = ", ".join(item.masks)
    shares = item.masked_shares or (0.0, 0.0, 0.0, 0.0, 1.0)
    pruned = f"{sum(shares) / len(shares):.0%} pruned by {by}"
    hover = pruned if item.masked_shares else f"to be pruned by {by}"
    row = h / len(shares)
    drawn: list[Element] = [
        Box(x + w * (1 - share) / 2, y - h / 2 + row * (i + 0.5), w * share, row, "#A9A9A9", radius=0, hover=hover)
        for i, share in enumerate(shares)
        if share
    ]
    return [*drawn, TextLabel(x - w / 2 - 5, y, f"{by} ∘", 11, anchor="end")]


def _draw_edges(panel: DiagramPanel, places: PanelLayout) -> list[Element]:
    return [element for edge in panel.edges for element in _draw_edge(panel, places, edge)]


def _draw_edge(panel: DiagramPanel, places: PanelLayout, edge: DiagramEdge) -> list[Element]:
    source, target = edge.source, edge.target
    xs, xt, top = places.centre[source], places.centre[target], places.top_edge(source)
    if edge.kind == "reads":
        return [_draw_router_input(panel, places, source, target)]
    if panel.items[target].kind in OPERATORS:
        side = places.right_edge(target) + 2 if xs > xt else places.left_edge(target) - 2
        if places.row[source] == places.row[target]:
            start = places.left_edge(source) - 2 if xs > xt else places.right_edge(source) + 2
            return [Line(((start, places.y[target]), (side, places.y[target])))]
        if abs(xs - xt) < 3:
            return [Line(((xs, top - 2), (xt, places.bottom_edge(target) + 2)))]
        return [Line(((xs, top - 2), (xs, places.y[target]), (side, places.y[target])))]
    entry = xt + _edge_offset(panel, places, edge)
    floor = places.bottom_edge(target) + (LABEL_HEIGHT if panel.items[target].kind not in ("encoder", "router") else 2)
    if edge.kind == "start":
        return _draw_start_edge(edge, xs, top, entry, floor)
    if abs(xs - entry) < 3:
        return [Line(((xs, top - 2), (xs, floor)))]
    turn = floor + 9
    return [Line(((xs, top - 2), (xs, turn), (entry, turn), (entry, floor)))]


def _edge_offset(panel: DiagramPanel, places: PanelLayout, edge: DiagramEdge) -> float:
    """Return the horizontal offset of an arrow into a wedge: several enter it in the order of their sources."""
    into = sorted(panel.incoming_edges(edge.target, "flow"), key=lambda other: places.centre[other.source])
    looked = 1 if panel.incoming_edges(edge.target, "reads") else 0
    if len(into) + looked < 2 or edge not in into:
        return 0.0
    w = places.size[edge.target][0] * 0.8
    if len(into) == 1:
        return 0.0
    return -w / 2 + w * (into.index(edge) + 0.5) / (len(into) + looked)


def _draw_router_input(panel: DiagramPanel, places: PanelLayout, source: str, target: str) -> Line:
    """Draw the arrow from a router's input, around the side to its right corner."""
    xs, xt = places.centre[source], places.right_edge(target) - 9
    floor = places.bottom_edge(target) + 2
    if places.row[source] > places.row[target]:
        return Line(((xs, places.top_edge(source) - 2), (xs, floor + 13), (xt, floor + 13), (xt, floor)))
    below = places.bottom_edge(source) + LABEL_HEIGHT
    if xs < places.right_edge(target) + 4:
        xs = places.right_edge(target) + 10
    return Line(((xs, below), (xs, floor + 13), (xt, floor + 13), (xt, floor)))


def _draw_start_edge(edge: DiagramEdge, xs: float, top: float, entry: float, floor: float) -> list[Element]:
    bend = () if abs(xs - entry) < 3 else ((xs, floor + 9), (entry, floor + 9))
    points = ((xs, top - 2), *bend, (entry, floor))
    lines = textwrap.wrap(edge.label, 18)[:4]
    middle = (floor + top) / 2 - 5.5 * (len(lines) - 1)
    words = [TextLabel(xs + 7, middle + 11 * i, line, 9.5, italic=True, anchor="start") for i, line in enumerate(lines)]
    return [Line(points, dash=True), *words]
