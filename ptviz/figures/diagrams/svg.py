"""A scene as SVG text: no browser, no plotly. Text takes the page's colour, on light and on dark."""

from __future__ import annotations

from html import escape

from ptviz.figures.diagrams.scene import Box, Cells, Element, Line, Point, Scene, Sign, Text, diverging

FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"


def to_svg(scene: Scene, page: bool = False, zoom: float = 1.0) -> str:
    """The scene as one SVG document.

    Alone, it is light on white and has fixed size. For a ``page`` it fills the width up to ``zoom`` times its own,
    takes the page's text colour, and what can be opened is a link that the keyboard reaches, marked ``data-open``.
    """
    w, h = _n(scene.width), _n(scene.height)
    look = "width:100%;height:auto;display:block" if page else "background:#fff;color:#1B2430"
    size = f"max-width:{_n(scene.width * zoom)}px;" if page else ""
    fixed = "" if page else f' width="{w}" height="{h}"'
    alone = "" if page else f'<rect width="{w}" height="{h}" fill="#fff"/>'
    # With links inside, a screen reader must be let in: an img would hide them.
    role = "group" if page and any(isinstance(e, Box) and e.link for e in scene.elements) else "img"
    drawn = "".join(_element(element, page) for element in scene.elements)
    title = f"<title>{escape(scene.title)}</title>" if not page and scene.title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}"{fixed} role="{role}" '
        f'aria-label="{escape(scene.alt)}" font-family="{"inherit" if page else FONT}" style="{size}{look}">'
        f"{title}{alone}{drawn}</svg>"
    )


def _element(element: Element, page: bool) -> str:
    match element:
        case Box():
            return _box(element, page)
        case Text():
            return _text(element)
        case Line():
            return _line(element)
        case Sign():
            return _sign(element)
        case Cells():
            return _cells(element)


def _box(box: Box, page: bool) -> str:
    fill = box.fill or ("transparent" if box.link else "none")
    dash = ' stroke-dasharray="5 3"' if box.dash else ""
    style = f'fill="{fill}" stroke="{box.line or "none"}" stroke-width="{_n(box.width)}"{dash}'
    if box.wedge:
        drawn = f'<path d="{_path(box.corners())}Z" {style} stroke-linejoin="round"/>'
    else:
        (left, _), (_, top), _, _ = box.corners()
        place = f'x="{_n(left)}" y="{_n(top)}" width="{_n(box.w)}" height="{_n(box.h)}" rx="{_n(box.radius)}"'
        drawn = f"<rect {place} {style}/>"
    if box.hatch:
        strokes = "".join(_path(stroke) for stroke in box.hatching())
        drawn += f'<path d="{strokes}" stroke="{box.hatch}" stroke-width="1" fill="none"/>'
    told = f"<title>{escape(box.hover)}</title>" if box.hover else ""
    if box.link and page:
        label = escape(box.hover or box.link)
        return (
            f'<g data-open="{escape(box.link)}" role="link" tabindex="0" aria-label="{label}" '
            f'style="cursor:pointer">{told}{drawn}</g>'
        )
    return f"<g>{told}{drawn}</g>" if told else drawn


def _text(text: Text) -> str:
    weight = ' font-weight="650"' if text.bold else ""
    weight += ' font-style="italic"' if text.italic else ""
    weight += ' opacity=".72"' if text.faint else ""
    # A third of the size below the middle: where a line of text looks centred, whatever the font.
    y = text.y + text.size * 0.35
    return (
        f'<text x="{_n(text.x)}" y="{_n(y)}" font-size="{_n(text.size)}" text-anchor="{text.anchor}" '
        f'fill="{text.colour or "currentColor"}"{weight} pointer-events="none">{escape(text.words)}</text>'
    )


def _line(line: Line) -> str:
    dash = ' stroke-dasharray="4 3"' if line.dash else ""
    style = f'fill="none" stroke="{line.colour}" stroke-width="{_n(line.width)}" stroke-linejoin="round"{dash}'
    head = f'<path d="{_path(line.head())}Z" fill="{line.colour}"/>' if line.arrow else ""
    return f'<path d="{_path(line.points)}" {style}/>{head}'


def _sign(sign: Sign) -> str:
    told = f"<title>{escape(sign.hover)}</title>" if sign.hover else ""
    dot = f'<circle cx="{_n(sign.x)}" cy="{_n(sign.y)}" r="{_n(sign.r * 0.25)}" fill="currentColor"/>'
    strokes = "".join(_path(stroke) for stroke in sign.strokes())
    inside = f'<path d="{strokes}" stroke="currentColor" stroke-width="1.6" fill="none"/>' if strokes else dot
    circle = f'<circle cx="{_n(sign.x)}" cy="{_n(sign.y)}" r="{_n(sign.r)}" fill="none" stroke="{sign.line}" '
    return f'<g>{told}{circle}stroke-width="1.6"/>{inside}</g>'


def _cells(cells: Cells) -> str:
    rows, columns = cells.values.shape
    w, h = cells.w / max(columns, 1), cells.h / max(rows, 1)
    left, top = cells.x - cells.w / 2, cells.y - cells.h / 2
    drawn = []
    for i, row in enumerate(cells.values.tolist()):
        for j, value in enumerate(row):
            place = f'x="{_n(left + j * w)}" y="{_n(top + i * h)}" width="{_n(w + 0.15)}" height="{_n(h + 0.15)}"'
            drawn.append(f'<rect {place} fill="{diverging(value / (cells.limit or 1.0))}"/>')
    return f'<g pointer-events="none" shape-rendering="crispEdges">{"".join(drawn)}</g>'


def _path(points: tuple[Point, ...]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
