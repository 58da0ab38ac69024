"""Where everything in a panel goes: data flows upwards into the backbone, as in the survey's figure 2."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptviz.analysis.method_diagram import Item, Panel

INFIX = ("product", "scaled", "sum", "mean")
WIDTHS = {"d": 66.0, "h": 66.0, "r": 22.0, "m": 34.0, "k": 30.0}
HEIGHTS = {"m": 32.0, "T": 40.0, "r": 14.0, "k": 30.0}
BETWEEN, ROWS, STARTS = 13.0, 20.0, 45.0
"""Pixels between neighbours, between rows, and between rows where words stand beside a dashed arrow."""
LABEL = 13.0
"""Pixels below a block for its shape."""


@dataclass
class Places:
    """Centres (x, y) and sizes (w, h) by key, and the row of each item: 0 is next to the backbone."""

    centre: dict[str, float] = field(default_factory=dict)
    size: dict[str, tuple[float, float]] = field(default_factory=dict)
    row: dict[str, int] = field(default_factory=dict)
    y: dict[str, float] = field(default_factory=dict)
    bottom: float = 0.0

    def left(self, key: str) -> float:
        """The left edge of an item."""
        return self.centre[key] - self.size[key][0] / 2

    def right(self, key: str) -> float:
        """The right edge of an item."""
        return self.centre[key] + self.size[key][0] / 2

    def top(self, key: str) -> float:
        """The upper edge of an item."""
        return self.y[key] - self.size[key][1] / 2

    def under(self, key: str) -> float:
        """The lower edge of an item."""
        return self.y[key] + self.size[key][1] / 2


def block_size(item: Item) -> tuple[float, float]:
    """Width and height of an item in pixels; a tensor's tell its axes apart: long d, short r, tall T."""
    if item.kind in INFIX:
        return 18.0, 18.0
    if item.kind == "encoder":
        return max(82.0, 7.0 * len(item.label) + 14), 34.0
    if item.kind == "router":
        return max(98.0, 9.0 * len(item.label) + 20), 34.0
    if item.kind == "examples":
        return 66.0 + 4 * min(item.stack - 1, 3), 32.0 + 4 * min(item.stack - 1, 3)
    axes = item.axes[1:] if item.stack > 1 else item.axes
    if len(axes) > 2:
        # As wide as its sizes are long in words: they stand below it.
        return max(WIDTHS["d"], 5.2 * len(" x ".join(map(str, item.sizes)))), HEIGHTS["m"]
    if len(axes) == 1:
        # A vector over prompt tokens stands, one over the width lies.
        w, h = (14.0, HEIGHTS["m"]) if axes[0] == "m" else (WIDTHS.get(axes[0], 40.0), 14.0)
    else:
        w, h = WIDTHS.get(axes[-1], 40.0), HEIGHTS.get(axes[0], 24.0)
    behind = 4.0 * min(item.stack - 1, 3)
    return w + behind, h + behind


def arrange(panel: Panel) -> Places:
    """Rows by distance from the backbone, columns in the order of the equation."""
    places = Places(size={key: block_size(item) for key, item in panel.items.items()})
    roots = [key for key in (panel.key_values, panel.prompt, panel.tokens) if key is not None]
    for root in roots:
        _rank(panel, places, root, 0)
    cursor = 0.0
    for root in roots:
        if root == panel.tokens and not panel.into(root) and len(roots) > 1:  # beside the prompt, below
            continue
        if root not in places.centre:
            cursor = _lay(panel, places, root, cursor) + BETWEEN + 6
    if panel.tokens is not None and panel.tokens not in places.centre:
        _beside(panel, places, panel.tokens)
    _heights(panel, places)
    return places


def _rank(panel: Panel, places: Places, key: str, row: int) -> None:
    places.row[key] = max(places.row.get(key, 0), row)
    infix = panel.items[key].kind in INFIX
    for edge in panel.into(key):
        leaf = not panel.into(edge.source, "flow")
        branch = panel.items[edge.source].kind in ("encoder", "router")
        if edge.how == "reads":
            if edge.source != panel.tokens:
                _rank(panel, places, edge.source, places.row[key] + 1)
        else:
            _rank(panel, places, edge.source, places.row[key] + (0 if infix and (leaf or branch) else 1))


def _lay(panel: Panel, places: Places, key: str, left: float) -> float:
    """Place an item and what leads to it, from ``left`` on; the right edge of it all."""
    own = places.size[key][0]
    edges = [e for e in panel.into(key) if e.how != "reads" or e.source != panel.tokens]
    kids = [e.source for e in edges]
    # The words beside a dashed arrow stand right of it, and need as much room as they are long.
    words = max((5 * min(len(e.words), 18) + 12 for e in edges if e.how == "start"), default=0)
    places.centre[key] = left + own / 2
    if panel.items[key].kind in INFIX and kids:
        first, *rest = kids
        cursor = left if first in places.centre else _lay(panel, places, first, left) + BETWEEN
        places.centre[key] = cursor + own / 2
        cursor += own + BETWEEN
        for kid in rest:
            if kid not in places.centre:
                cursor = _lay(panel, places, kid, cursor) + BETWEEN
        return cursor - BETWEEN
    before = set(places.centre)
    cursor = left
    for kid in kids:
        if kid not in places.centre:
            cursor = _lay(panel, places, kid, cursor) + BETWEEN
    new = set(places.centre) - before
    if not new:
        places.centre[key] = left + places.size[key][0] / 2
        return left + places.size[key][0]
    span = cursor - BETWEEN - left
    # What is wider than all that leads to it stands in the middle above.
    shift = max(0.0, (own - span) / 2)
    for kid in new:
        places.centre[kid] += shift
    direct = [places.centre[kid] for kid in kids if kid in new]
    places.centre[key] = (min(direct) + max(direct)) / 2
    return max(left + max(own, span), places.centre[key] + words)


def _beside(panel: Panel, places: Places, key: str) -> None:
    """Put the text's tokens right of the prompt; further out where a router below looks at them."""
    readers = [edge.target for edge in panel.edges if edge.how == "reads" and edge.source == key]
    deepest = max([places.row[reader] for reader in readers], default=0)
    others = [other for other in places.centre if places.row[other] <= deepest]
    edge = max((places.right(other) for other in others), default=-BETWEEN)
    places.centre[key] = edge + BETWEEN + places.size[key][0] / 2


def _heights(panel: Panel, places: Places) -> None:
    y = 0.0
    for row in range(max(places.row.values(), default=0) + 1):
        members = [key for key, own in places.row.items() if own == row]
        tall = max((places.size[key][1] for key in members), default=0.0)
        for key in members:
            places.y[key] = y + tall / 2
        labelled = any(panel.items[key].kind not in INFIX for key in members)
        begun = any(edge.how == "start" and places.row[edge.target] == row for edge in panel.edges)
        y += tall + (LABEL if labelled else 0.0)
        places.bottom = y
        y += STARTS if begun else ROWS
