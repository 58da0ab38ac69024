"""Scenes as SVG, without a browser or plotly; text has the page's colour, light or dark."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from ptviz.figures.diagrams.scene import (
    Box,
    Element,
    HeatmapCells,
    Line,
    OperatorSign,
    Point,
    Scene,
    TextLabel,
    diverging_colour,
)

FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"


def to_svg(scene: Scene, page: bool = False, zoom: float = 1.0) -> str:
    """Return the scene as one SVG document.

    By default it is a document of fixed size, dark on white. For a ``page`` it fills the width up to ``zoom`` times
    its own and has the page's text colour, and a box with a link can be focused and has the attribute ``data-open``.
    """
    w, h = _format_number(scene.width), _format_number(scene.height)
    # The role img would hide the links inside from a screen reader.
    role = "group" if page and any(isinstance(e, Box) and e.link for e in scene.elements) else "img"
    look = f"max-width:{_format_number(scene.width * zoom)}px;width:100%;height:auto;display:block"
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {w} {h}")
    root.attrib |= {} if page else {"width": w, "height": h}
    root.attrib |= {
        "role": role, "aria-label": scene.alt, "font-family": "inherit" if page else FONT,
        "style": look if page else "background:#fff;color:#1B2430",
    }  # fmt: skip
    if not page:
        _title(root, scene.title)
        _put(root, "rect", width=scene.width, height=scene.height, fill="#fff")
    for element in scene.elements:
        _element_svg(root, element, page)
    return ET.tostring(root, encoding="unicode")


def _element_svg(root: ET.Element, element: Element, page: bool) -> None:
    match element:
        case Box():
            _box_svg(root, element, page)
        case TextLabel():
            _text_svg(root, element)
        case Line():
            _line_svg(root, element)
        case OperatorSign():
            _sign_svg(root, element)
        case HeatmapCells():
            _cells_svg(root, element)


def _box_svg(root: ET.Element, box: Box, page: bool) -> None:
    if box.link and page:
        root = _put(
            root, "g", data_open=box.link, role="link", tabindex="0", aria_label=box.hover or box.link,
            style="cursor:pointer",
        )  # fmt: skip
    elif box.hover:
        root = _put(root, "g")
    _title(root, box.hover)
    shape: dict[str, str | float] = (
        {"d": _svg_path(box.corners()) + "Z", "stroke_linejoin": "round"} if box.wedge else
        {"x": box.x - box.w / 2, "y": box.y - box.h / 2, "width": box.w, "height": box.h, "rx": box.radius}
    )  # fmt: skip
    _put(
        root, "path" if box.wedge else "rect", **shape, fill=box.fill or ("transparent" if box.link else "none"),
        stroke=box.line or "none", stroke_width=box.width, stroke_dasharray=box.dash and "5 3",
    )  # fmt: skip
    if box.hatch:
        strokes = "".join(_svg_path(stroke) for stroke in box.hatch_lines())
        _put(root, "path", d=strokes, stroke=box.hatch, stroke_width=1, fill="none")


def _text_svg(root: ET.Element, text: TextLabel) -> None:
    # A third of the size below the middle: where a line of text looks centred, whatever the font.
    _put(
        root, "text", text.text, x=text.x, y=text.y + text.size * 0.35, font_size=text.size, text_anchor=text.anchor,
        fill=text.colour or "currentColor", font_weight=text.bold and "650", font_style=text.italic and "italic",
        opacity=text.faint and ".72", pointer_events="none",
    )  # fmt: skip


def _line_svg(root: ET.Element, line: Line) -> None:
    _put(
        root, "path", d=_svg_path(line.points), fill="none", stroke=line.colour, stroke_width=line.width,
        stroke_linejoin="round", stroke_dasharray=line.dash and "4 3",
    )  # fmt: skip
    if line.arrow:
        _put(root, "path", d=_svg_path(line.arrow_head()) + "Z", fill=line.colour)


def _sign_svg(root: ET.Element, sign: OperatorSign) -> None:
    group = _put(root, "g")
    _title(group, sign.hover)
    _put(group, "circle", cx=sign.x, cy=sign.y, r=sign.r, fill="none", stroke=sign.line, stroke_width=1.6)
    if strokes := "".join(_svg_path(stroke) for stroke in sign.strokes()):
        _put(group, "path", d=strokes, stroke="currentColor", stroke_width=1.6, fill="none")
    else:
        _put(group, "circle", cx=sign.x, cy=sign.y, r=sign.r * 0.25, fill="currentColor")


def _cells_svg(root: ET.Element, cells: HeatmapCells) -> None:
    rows, columns = cells.values.shape
    w, h = cells.w / max(columns, 1), cells.h / max(rows, 1)
    left, top = cells.x - cells.w / 2, cells.y - cells.h / 2
    group = _put(root, "g", pointer_events="none", shape_rendering="crispEdges")
    for i, row in enumerate(cells.values.tolist()):
        for j, value in enumerate(row):
            fill = diverging_colour(value / (cells.colour_limit or 1.0))
            _put(group, "rect", x=left + j * w, y=top + i * h, width=w + 0.15, height=h + 0.15, fill=fill)


def _title(root: ET.Element, words: str) -> None:
    """Add the text that is shown on hover and read by a screen reader."""
    if words:
        _put(root, "title", words)


def _put(root: ET.Element, tag: str, words: str = "", /, **attributes: str | float) -> ET.Element:
    """Add an element; attribute names have underscores for hyphens, and False leaves an attribute out."""
    given = {name.replace("_", "-"): value for name, value in attributes.items() if value is not False}
    node = ET.SubElement(root, tag, {name: v if isinstance(v, str) else _format_number(v) for name, v in given.items()})
    node.text = words
    return node


def _svg_path(points: tuple[Point, ...]) -> str:
    return "M" + "L".join(f"{_format_number(x)} {_format_number(y)}" for x, y in points)


def _format_number(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
