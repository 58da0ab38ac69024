"""One method as the survey draws it, from the live module: a single routine for every method.

Blue is frozen, lilac the input, orange the soft prompt, pale salmon keys and values inside the backbone, pink an
encoder or a router (a wedge), hatched what was processed; product and sum are circled signs.
Source of the grammar: Li, Su and Collier, "A Survey on Prompt Tuning", 2025, figure 2, https://arxiv.org/abs/2507.06085
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np

from ptviz.analysis.method_diagram import Edge, Item, Panel
from ptviz.figures.diagrams.layout import INFIX, LABEL, Places, arrange
from ptviz.figures.diagrams.method_text import STATES, described, listed, shape_of
from ptviz.figures.diagrams.scene import DARK, WHITE, Box, Cells, Element, Line, Scene, Sign, Text, bounds, moved
from ptviz.figures.style import FROZEN, GREY, PROMPT, PURPLE

LILAC, ORANGE, SALMON, PINK = "#B9A6E0", "#F59A52", "#FBD0BE", "#F3B4D2"
PALE_LILAC, PALE_ORANGE = "#E4DCF4", "#FCE0C8"
HALO = "#009E73"
WIDE = 318.0
"""Width of one panel in pixels; it is as tall as what it holds."""
SMALLEST = 8.5
"""Size in pixels below which no words of a panel fall."""
_TOP, _LLM, _FLOOR, _REMARK = 52.0, 54.0, 42.0, 13.0
_MOST = 300.0
"""Height in pixels of what may stand below the backbone; more is drawn smaller."""
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


def short(count: int) -> str:
    """A count in three figures: 3,840 or 22.6 M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if count >= size:
            return f"{count / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{count:,}"


def draw_panel(
    panel: Panel, highlight: frozenset[str] = frozenset(), link: bool = False, tall: float | None = None
) -> Scene:
    """One method's panel; ``highlight`` rings what another panel has not; ``link`` makes it open the method.

    ``tall`` is its height in pixels, that of what it holds if left out.
    """
    places = arrange(panel)
    inside = [*_edges(panel, places), *_blocks(panel, places, highlight)]
    left, _, right, bottom = bounds(inside)
    scale = _scale(left, right, bottom)
    tall = tall or _height(panel, scale * bottom)
    dx, dy = WIDE / 2 - scale * (left + right) / 2, _TOP + _LLM + 26
    backbone, doors = _backbone(panel)
    elements: list[Element] = [
        Box(WIDE / 2, tall / 2, WIDE - 8, tall - 8, "", GREY, 0.8, radius=8, link=panel.name if link else "",
            hover=f"{panel.title}, {panel.citation}" if link else ""),
        _fitting(Text(18, 21, panel.title, 15, bold=True, anchor="start")),
        _fitting(Text(18, 38, panel.citation, 10, anchor="start", faint=True)),
        *backbone,
        *(_legible(element) for element in moved(inside, dx, dy, scale)),
        *_arrows(panel, places, doors, dx, dy, scale),
        *_footer(panel, tall),
    ]  # fmt: skip
    return Scene(WIDE, tall, tuple(elements), described(panel), panel.title, listed([panel]))


def height_of(panel: Panel) -> float:
    """How tall a panel wants to be, in pixels."""
    left, _, right, bottom = bounds([*_edges(panel, places := arrange(panel)), *_blocks(panel, places, frozenset())])
    return _height(panel, _scale(left, right, bottom) * bottom)


def _scale(left: float, right: float, bottom: float) -> float:
    return min(1.15, (WIDE - 36) / max(right - left, 1.0), _MOST / max(bottom, 1.0))


def _height(panel: Panel, below: float) -> float:
    return _TOP + _LLM + 26 + below + 12 + _FLOOR + _REMARK * len(_remark(panel))


def _remark(panel: Panel) -> list[str]:
    """The remark in lines of about one length: no word is left alone on the last."""
    lines = -(-len(panel.remark) // 52)
    return textwrap.wrap(panel.remark, len(panel.remark) // lines + 5) if lines else []


def _fitting(text: Text) -> Text:
    """Words in the head of a panel, smaller where they would run out of it."""
    room = WIDE - 18 - text.x
    return replace(text, size=text.size * room / text.long) if text.long > room else text


def _legible(element: Element) -> Element:
    """Words stay large enough to read where a drawing had to shrink."""
    return replace(element, size=max(element.size, SMALLEST)) if isinstance(element, Text) else element


def _backbone(panel: Panel) -> tuple[list[Element], float]:
    """The frozen box, with bands of keys and values if there are any; and the height of its door."""
    centre, wide = _TOP + _LLM / 2, WIDE - 36
    told = "frozen backbone: none of its numbers changes"
    drawn: list[Element] = [Box(WIDE / 2, centre, wide, _LLM, FROZEN, radius=7, hover=told)]
    size = f"{short(panel.frozen)} numbers" if panel.frozen else "frozen"
    lines = "frozen backbone", f"{size}, {panel.sites} attention sites"
    x = WIDE / 2
    if panel.key_values is not None:
        x = WIDE / 2 + 40
        for i in range(3):
            y = _TOP + 10 + 17 * i
            drawn.append(Box(WIDE / 2, y, wide - 12, 13, "#2A88BF", radius=3))
            band = "trained keys and values, seen first at every attention site"
            drawn.append(Box(18 + 6 + 38, y, 72, 13, SALMON, PROMPT, radius=3, hover=band))
        drawn.append(Text(62, _TOP + 27, "K, V", 10, bold=True, colour=DARK))
    drawn.append(Text(x, centre - 8, lines[0], 13, bold=True, colour=WHITE))
    drawn.append(Text(x, centre + 10, lines[1], 10, colour=WHITE))
    return drawn, _TOP + _LLM


def _arrows(panel: Panel, places: Places, door: float, dx: float, dy: float, scale: float) -> list[Element]:
    """From the row next to the backbone into it."""
    drawn: list[Element] = []
    for key in (panel.key_values, panel.prompt, panel.tokens):
        if key is None:
            continue
        x, y = places.centre[key] * scale + dx, places.top(key) * scale + dy - 2
        if key == panel.key_values and x > 98:
            drawn.append(Line(((x, y), (x, door + 12), (62, door + 12), (62, door + 2))))
        else:
            drawn.append(Line(((x, y), (x, door + 2))))
    return drawn


def _footer(panel: Panel, tall: float) -> list[Element]:
    if not panel.trained:
        return [Text(WIDE / 2, tall - 22, "nothing is trained", 11)]
    share = f", {panel.trained / panel.frozen:.3%} of the backbone" if panel.frozen else ""
    tokens = f"{panel.slots} prompt tokens" if panel.slots else "no prompt tokens in the input"
    kept = f", {short(panel.stored)} to keep" if panel.stored != panel.trained else ""
    remark = _remark(panel)
    above = tall - _FLOOR - _REMARK * len(remark)
    return [
        *(Text(WIDE / 2, above + _REMARK * i, line, 10, italic=True) for i, line in enumerate(remark)),
        Text(WIDE / 2, tall - 30, f"{panel.trained:,} trained{share}", 11, bold=True),
        Text(WIDE / 2, tall - 15, tokens + kept, 10, faint=True),
    ]


def _blocks(panel: Panel, places: Places, highlight: frozenset[str]) -> list[Element]:
    drawn: list[Element] = []
    for key, item in panel.items.items():
        x, y, (w, h) = places.centre[key], places.y[key], places.size[key]
        if key in highlight:
            drawn.append(Box(x, y, w + 7, h + 7, "#A6E3CF", HALO, 2, radius=7))
        if item.kind in INFIX:
            drawn.append(Sign(x, y, item.kind, hover=_SIGNS[item.kind]))
            if item.kind == "mean":
                drawn.append(Text(x, y + 16, "mean", 9, faint=True))
        elif item.kind in ("encoder", "router"):
            drawn += _machine(item, x, y, w, h)
        else:
            drawn += _tensor(item, x, y, w, h)
    return drawn


_SIGNS = {
    "product": "matrix product", "scaled": "elementwise product", "sum": "sum", "mean": "mean of both",
}  # fmt: skip


_ROUTES = {"one": "picks one", "some": "picks some", "mix": "mixes all"}


def _machine(item: Item, x: float, y: float, w: float, h: float) -> list[Element]:
    state = "trained" if item.state == "trained" else "held fixed"
    told = f"{item.label}: {item.scalars:,} numbers, {state}"
    how = _ROUTES.get("".join(item.axes), "")
    told += f"; {how}" if how else ""
    edge = PURPLE if item.state == "trained" else FROZEN
    count = f"{short(item.scalars)} numbers" if item.scalars else "no numbers of its own"
    lines: list[Element] = [Box(x, y, w, h, PINK, edge, 1.2, wedge=item.kind == "router", hover=told)]
    if item.kind == "router":
        how += f" · {short(item.scalars)}" if item.scalars else ""
        name = Text(x, y - 7, item.label, 10.5, bold=True, colour=DARK)
        return [*lines, name, Text(x, y + 8, how, 8.5, colour=DARK)]
    return [*lines, Text(x, y - 6, item.label, 11, bold=True, colour=DARK), Text(x, y + 8, count, 8.5, colour=DARK)]


def _look(item: Item) -> tuple[str, str, str]:
    """Fill, edge and hatching of a block."""
    if item.kind in ("input", "examples"):
        return LILAC, "", ""
    if item.kind == "result" and item.axes[:1] == ("T",):
        return PALE_LILAC, LILAC, LILAC
    if item.state == "processed":
        return PALE_ORANGE, PROMPT, "#EE9B5E"
    if item.state == "frozen":
        return PALE_ORANGE, FROZEN, ""
    return ORANGE, PROMPT, ""


def _tensor(item: Item, x: float, y: float, w: float, h: float) -> list[Element]:
    fill, edge, hatch = _look(item)
    behind = min(item.stack - 1, 3) if item.stack > 1 else 0
    w, h, x, y = w - 4 * behind, h - 4 * behind, x - 2 * behind, y + 2 * behind
    told = f"{item.label}: {shape_of(item)}, {STATES[item.state]}"
    drawn: list[Element] = []
    for i in range(behind, 0, -1):
        drawn.append(Box(x + 4 * i, y - 4 * i, w, h, fill, edge or WHITE, radius=2.5))
    heat = item.values is not None and item.kind != "input"
    limit = float(np.nanpercentile(np.abs(item.values), 98)) or 1.0 if heat and item.values is not None else 0.0
    told += f"; full colour at ±{limit:.2g}" if heat else ""
    drawn.append(Box(x, y, w, h, fill, edge or ("" if not behind else WHITE), 1.2, radius=2.5,
                     hatch="" if heat else hatch, hover=told))  # fmt: skip
    shape = shape_of(item)
    if heat and item.values is not None:
        drawn.append(Cells(x, y, w - 5, h - 5, item.values, limit))
        drawn += _pruned(item, x, y, w, h) if item.masks else []
        shape = f"{item.label}  {shape}"
    else:
        drawn += _pruned(item, x, y, w, h) if item.masks else []
        drawn += _name(item, x, y, w, h, hatch != "")
    if behind:
        # Above, beside the arrow that leaves from the middle.
        drawn.append(Text(x + 2 * behind + 6, y - h / 2 - 4 * behind - 6.5, f"1…{item.stack}", 9, anchor="start"))
    if shape:
        drawn.append(Text(x, y + h / 2 + LABEL - 5, shape, 9, faint=True))
    return drawn


def _name(item: Item, x: float, y: float, w: float, h: float, hatched: bool) -> list[Element]:
    words = "your text" if item.kind == "input" else item.label
    size = 12.0 if w > 30 and h > 16 else 10.0
    label = Text(x, y, words, size, bold=True, colour=DARK)
    if label.long > w - 4 and len(words) > 3:
        label = replace(label, size=size * (w - 4) / label.long)
    if not hatched:
        return [label]
    # A plate behind the letters: hatching must not run through them.
    return [Box(x, y, label.long + 6, size + 4, PALE_LILAC if item.axes[:1] == ("T",) else PALE_ORANGE), label]


def _pruned(item: Item, x: float, y: float, w: float, h: float) -> list[Element]:
    """Grey where the masks took something away, row by row; before anything was pruned, one band as a sign."""
    by = ", ".join(item.masks)
    shares = item.masked or (0.0, 0.0, 0.0, 0.0, 1.0)
    told = f"{sum(item.masked) / len(item.masked):.0%} pruned by {by}" if item.masked else f"{by} will prune; not yet"
    row = h / len(shares)
    drawn: list[Element] = [
        Box(x + w * (1 - share) / 2, y - h / 2 + row * (i + 0.5), w * share, row, "#A9A9A9", radius=0, hover=told)
        for i, share in enumerate(shares)
        if share
    ]
    return [*drawn, Text(x - w / 2 - 5, y, f"{by} ∘", 11, anchor="end")]


def _edges(panel: Panel, places: Places) -> list[Element]:
    drawn: list[Element] = []
    for edge in panel.edges:
        drawn += _edge(panel, places, edge)
    return drawn


def _edge(panel: Panel, places: Places, edge: Edge) -> list[Element]:
    source, target = edge.source, edge.target
    xs, xt, top = places.centre[source], places.centre[target], places.top(source)
    if edge.how == "reads":
        return [_reading(panel, places, source, target)]
    if panel.items[target].kind in INFIX:
        side = places.right(target) + 2 if xs > xt else places.left(target) - 2
        if places.row[source] == places.row[target]:
            start = places.left(source) - 2 if xs > xt else places.right(source) + 2
            return [Line(((start, places.y[target]), (side, places.y[target])))]
        if abs(xs - xt) < 3:
            return [Line(((xs, top - 2), (xt, places.under(target) + 2)))]
        return [Line(((xs, top - 2), (xs, places.y[target]), (side, places.y[target])))]
    door = xt + _offset(panel, places, edge)
    floor = places.under(target) + (LABEL if panel.items[target].kind not in ("encoder", "router") else 2)
    if edge.how == "start":
        return _begun(edge, xs, top, door, floor)
    if abs(xs - door) < 3:
        return [Line(((xs, top - 2), (xs, floor)))]
    turn = floor + 9
    return [Line(((xs, top - 2), (xs, turn), (door, turn), (door, floor)))]


def _offset(panel: Panel, places: Places, edge: Edge) -> float:
    """Several arrows into one wedge enter it side by side, from left to right as their sources stand."""
    into = sorted(panel.into(edge.target, "flow"), key=lambda other: places.centre[other.source])
    looked = 1 if panel.into(edge.target, "reads") else 0
    if len(into) + looked < 2 or edge not in into:
        return 0.0
    w = places.size[edge.target][0] * 0.8
    if len(into) == 1:
        return 0.0
    return -w / 2 + w * (into.index(edge) + 0.5) / (len(into) + looked)


def _reading(panel: Panel, places: Places, source: str, target: str) -> Line:
    """What a router looks at comes round the side and enters at its right corner."""
    xs, xt = places.centre[source], places.right(target) - 9
    floor = places.under(target) + 2
    if places.row[source] > places.row[target]:
        return Line(((xs, places.top(source) - 2), (xs, floor + 13), (xt, floor + 13), (xt, floor)))
    below = places.under(source) + LABEL
    if xs < places.right(target) + 4:
        xs = places.right(target) + 10
    return Line(((xs, below), (xs, floor + 13), (xt, floor + 13), (xt, floor)))


def _begun(edge: Edge, xs: float, top: float, door: float, floor: float) -> list[Element]:
    points = ((xs, top - 2), (door, floor)) if abs(xs - door) < 3 else (
        (xs, top - 2), (xs, floor + 9), (door, floor + 9), (door, floor))  # fmt: skip
    lines = textwrap.wrap(edge.words, 18)[:4]
    middle = (floor + top) / 2 - 5.5 * (len(lines) - 1)
    words = [Text(xs + 7, middle + 11 * i, line, 9.5, italic=True, anchor="start") for i, line in enumerate(lines)]
    return [Line(points, dash=True), *words]
