"""The layout of a panel: data flows upwards into the backbone, as in the survey's figure 2."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptviz.analysis.method_diagram import DiagramItem, DiagramPanel

OPERATORS = ("product", "scaled", "sum", "mean")
WIDTHS = {"d": 66.0, "h": 66.0, "r": 22.0, "m": 34.0, "k": 30.0}
HEIGHTS = {"m": 32.0, "T": 40.0, "r": 14.0, "k": 30.0}
ITEM_GAP, ROW_GAP, START_EDGE_GAP = 13.0, 20.0, 45.0
"""Pixels between neighbours, between rows, and between rows with a labelled dashed arrow."""
LABEL_HEIGHT = 13.0
"""Pixels below a block for the label of its shape."""


@dataclass
class PanelLayout:
    """Centres (x, y) and sizes (w, h) by key, and the row of each item: 0 is next to the backbone."""

    centre: dict[str, float] = field(default_factory=dict)
    size: dict[str, tuple[float, float]] = field(default_factory=dict)
    row: dict[str, int] = field(default_factory=dict)
    y: dict[str, float] = field(default_factory=dict)
    bottom: float = 0.0

    def left_edge(self, key: str) -> float:
        """The left edge of an item."""
        return self.centre[key] - self.size[key][0] / 2

    def right_edge(self, key: str) -> float:
        """The right edge of an item."""
        return self.centre[key] + self.size[key][0] / 2

    def top_edge(self, key: str) -> float:
        """The upper edge of an item."""
        return self.y[key] - self.size[key][1] / 2

    def bottom_edge(self, key: str) -> float:
        """The lower edge of an item."""
        return self.y[key] + self.size[key][1] / 2


def block_size(item: DiagramItem) -> tuple[float, float]:
    """Return width and height of an item in pixels; a tensor's show its axes: wide d, narrow r, tall T."""
    if item.kind in OPERATORS:
        return 18.0, 18.0
    if item.kind == "encoder":
        return max(82.0, 7.0 * len(item.label) + 14), 34.0
    if item.kind == "router":
        return max(98.0, 9.0 * len(item.label) + 20), 34.0
    if item.kind == "examples":
        return 66.0 + 4 * min(item.stack - 1, 3), 32.0 + 4 * min(item.stack - 1, 3)
    axes = item.axes[1:] if item.stack > 1 else item.axes
    if len(axes) > 2:
        # Wide enough for the label of its sizes, which is below it.
        return max(WIDTHS["d"], 5.2 * len(" x ".join(map(str, item.sizes)))), HEIGHTS["m"]
    if len(axes) == 1:
        # A vector over prompt tokens is vertical, one over the dimensions horizontal.
        w, h = (14.0, HEIGHTS["m"]) if axes[0] == "m" else (WIDTHS.get(axes[0], 40.0), 14.0)
    else:
        w, h = WIDTHS.get(axes[-1], 40.0), HEIGHTS.get(axes[0], 24.0)
    behind = 4.0 * min(item.stack - 1, 3)
    return w + behind, h + behind


def arrange_panel(panel: DiagramPanel) -> PanelLayout:
    """Arrange items in rows by distance from the backbone, and columns in the order of the equation."""
    places = PanelLayout(size={key: block_size(item) for key, item in panel.items.items()})
    roots = [key for key in (panel.key_values, panel.prompt, panel.tokens) if key is not None]
    for root in roots:
        _assign_rows(panel, places, root, 0)
    cursor = 0.0
    for root in roots:
        if root == panel.tokens and not panel.incoming_edges(root) and len(roots) > 1:  # beside the prompt, below
            continue
        if root not in places.centre:
            cursor = _place_subtree(panel, places, root, cursor) + ITEM_GAP + 6
    if panel.tokens is not None and panel.tokens not in places.centre:
        _place_text_tokens(panel, places, panel.tokens)
    _assign_heights(panel, places)
    return places


def _assign_rows(panel: DiagramPanel, places: PanelLayout, key: str, row: int) -> None:
    places.row[key] = max(places.row.get(key, 0), row)
    infix = panel.items[key].kind in OPERATORS
    for edge in panel.incoming_edges(key):
        leaf = not panel.incoming_edges(edge.source, "flow")
        branch = panel.items[edge.source].kind in ("encoder", "router")
        if edge.kind == "reads":
            if edge.source != panel.tokens:
                _assign_rows(panel, places, edge.source, places.row[key] + 1)
        else:
            _assign_rows(panel, places, edge.source, places.row[key] + (0 if infix and (leaf or branch) else 1))


def _place_subtree(panel: DiagramPanel, places: PanelLayout, key: str, left: float) -> float:
    """Place an item and all items that lead to it, from ``left`` on; return the right edge of all of them."""
    own = places.size[key][0]
    edges = [e for e in panel.incoming_edges(key) if e.kind != "reads" or e.source != panel.tokens]
    kids = [e.source for e in edges]
    # The label of a dashed arrow is right of it, and needs room.
    words = max((5 * min(len(e.label), 18) + 12 for e in edges if e.kind == "start"), default=0)
    places.centre[key] = left + own / 2
    if panel.items[key].kind in OPERATORS and kids:
        first, *rest = kids
        cursor = left if first in places.centre else _place_subtree(panel, places, first, left) + ITEM_GAP
        places.centre[key] = cursor + own / 2
        cursor += own + ITEM_GAP
        for kid in rest:
            if kid not in places.centre:
                cursor = _place_subtree(panel, places, kid, cursor) + ITEM_GAP
        return cursor - ITEM_GAP
    before = set(places.centre)
    cursor = left
    for kid in kids:
        if kid not in places.centre:
            cursor = _place_subtree(panel, places, kid, cursor) + ITEM_GAP
    new = set(places.centre) - before
    if not new:
        places.centre[key] = left + places.size[key][0] / 2
        return left + places.size[key][0]
    span = cursor - ITEM_GAP - left
    # An item wider than all that lead to it is centred above them.
    shift = max(0.0, (own - span) / 2)
    for kid in new:
        places.centre[kid] += shift
    direct = [places.centre[kid] for kid in kids if kid in new]
    places.centre[key] = (min(direct) + max(direct)) / 2
    return max(left + max(own, span), places.centre[key] + words)


def _place_text_tokens(panel: DiagramPanel, places: PanelLayout, key: str) -> None:
    """Put the text's tokens right of the prompt, and right of a router below that reads them."""
    readers = [edge.target for edge in panel.edges if edge.kind == "reads" and edge.source == key]
    deepest = max([places.row[reader] for reader in readers], default=0)
    others = [other for other in places.centre if places.row[other] <= deepest]
    edge = max((places.right_edge(other) for other in others), default=-ITEM_GAP)
    places.centre[key] = edge + ITEM_GAP + places.size[key][0] / 2


def _assign_heights(panel: DiagramPanel, places: PanelLayout) -> None:
    y = 0.0
    for row in range(max(places.row.values(), default=0) + 1):
        members = [key for key, own in places.row.items() if own == row]
        tall = max((places.size[key][1] for key in members), default=0.0)
        for key in members:
            places.y[key] = y + tall / 2
        labelled = any(panel.items[key].kind not in OPERATORS for key in members)
        begun = any(edge.kind == "start" and places.row[edge.target] == row for edge in panel.edges)
        y += tall + (LABEL_HEIGHT if labelled else 0.0)
        places.bottom = y
        y += START_EDGE_GAP if begun else ROW_GAP
