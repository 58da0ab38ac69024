"""The survey's figure 1: the taxonomy of prompt tuning, coloured by family or by a measure."""

from __future__ import annotations

import textwrap

from ptviz.analysis.taxonomy import LEVELS, Branch, ColourScale, Leaf, Taxonomy
from ptviz.figures.diagrams.scene import (
    DARK,
    WHITE,
    Box,
    Element,
    Line,
    Scene,
    Table,
    TextLabel,
    cividis_colour,
    contrasting_colour,
)
from ptviz.figures.style import FROZEN, GREEN, GREY, PURPLE

ROW_HEIGHT, HEADER_HEIGHT = 44.0, 60.0
COLUMNS = ((8.0, 104.0), (136.0, 80.0), (240.0, 134.0), (398.0, 128.0), (550.0, 362.0))
"""Left edge and width of the root, the family, the group, where the prompt enters, and the methods."""
WIDTH = 920.0
NARROW_WIDTH, NARROW_HEADER = 350.0, 64.0
NARROW_LEAVES = (20.0, 322.0)
"""Left edge and width of the methods where the tree is drawn as a list, for a phone."""
COLUMN_TITLES = ("", "family", "group", "where the prompt enters", "method and paper")
FAMILY_COLOURS = ((FROZEN, "#CFE4F2"), ("#00795A", "#CDEBE0"), (PURPLE, "#F5DDEA"), (GREEN, "#CDEBE0"))
UNMEASURED_COLOUR = "#E3E6EA"


def draw_taxonomy(tree: Taxonomy, narrow: bool = False) -> Scene:
    """Draw the tree from left to right, or from top to bottom if ``narrow``; a click on a method opens its page."""
    if narrow:
        return _draw_list(tree)
    leaves = tree.root.methods()
    height = HEADER_HEIGHT + ROW_HEIGHT * max(len(leaves), 1) + 16
    elements: list[Element] = []
    for (left, width), head in zip(COLUMNS, COLUMN_TITLES, strict=True):
        elements.append(TextLabel(left + width / 2, 18, head, 12, faint=True))
    _draw_branch(elements, tree.root, HEADER_HEIGHT, tree.colour_scale, 0)
    if tree.colour_scale is not None:
        elements += _draw_colour_scale(tree.colour_scale, *COLUMNS[4])
        height += 4
    if not leaves:
        elements.append(TextLabel(WIDTH / 2, HEADER_HEIGHT + 20, "No method is registered.", 13))
    return Scene(WIDTH, height, tuple(elements), describe_taxonomy(tree), "Taxonomy of prompt tuning", table_rows(tree))


def _draw_list(tree: Taxonomy) -> Scene:
    """Draw families, groups and methods below one another."""
    elements: list[Element] = []
    y = 8.0
    if tree.colour_scale is not None:
        elements += _draw_colour_scale(tree.colour_scale, 0, NARROW_WIDTH, above=True)
        y = NARROW_HEADER
    for index, family in enumerate(tree.root.branches):
        strong, _ = FAMILY_COLOURS[index % len(FAMILY_COLOURS)]
        elements.append(Box(NARROW_WIDTH / 2, y + 15, NARROW_WIDTH - 16, 30, strong, strong, radius=6))
        elements.append(TextLabel(NARROW_WIDTH / 2, y + 15, family.label, 13, bold=True, colour=WHITE))
        y += 38
        for group in family.branches:
            for where in group.branches:
                elements.append(TextLabel(8, y + 12, f"{group.label}: {where.label}", 13, anchor="start"))
                y += 26
                for leaf in where.leaves:
                    _draw_leaf(elements, leaf, y + 18, tree.colour_scale, index, NARROW_LEAVES)
                    y += ROW_HEIGHT
        y += 10
    return Scene(
        NARROW_WIDTH, y + 8, tuple(elements), describe_taxonomy(tree), "Taxonomy of prompt tuning", table_rows(tree)
    )


def _draw_branch(
    elements: list[Element], branch: Branch, top: float, measure: ColourScale | None, family: int
) -> float:
    """Draw a branch whose leaves start at ``top``; return the y of the middle of its box."""
    rows = len(branch.methods())
    middle = top + ROW_HEIGHT * max(rows, 1) / 2
    left, width = COLUMNS[branch.level]
    y = top
    for index, below in enumerate(branch.branches):
        own = index if branch.level == 0 else family
        target = _draw_branch(elements, below, y, measure, own)
        elements.append(_draw_link(left + width, middle, COLUMNS[branch.level + 1][0], target))
        y += ROW_HEIGHT * len(below.methods())
    for leaf in branch.leaves:
        elements.append(_draw_link(left + width, middle, COLUMNS[4][0], y + ROW_HEIGHT / 2))
        _draw_leaf(elements, leaf, y + ROW_HEIGHT / 2, measure, family, COLUMNS[4])
        y += ROW_HEIGHT
    strong, pale = FAMILY_COLOURS[family % len(FAMILY_COLOURS)]
    fill = DARK if branch.level == 0 else strong if branch.level == 1 else pale
    # Strong colours for root and families, pale ones for deeper levels.
    elements.append(Box(left + width / 2, middle, width, 34, fill, GREY if branch.level == 0 else strong, radius=6))
    lines = textwrap.wrap(branch.label, 20 if branch.level else 15) or [""]
    for i, line in enumerate(lines):
        at = middle + 13 * (i - (len(lines) - 1) / 2)
        colour = WHITE if branch.level < 2 else DARK
        elements.append(TextLabel(left + width / 2, at, line, 12, bold=branch.level < 2, colour=colour))
    return middle


def _draw_leaf(
    elements: list[Element],
    leaf: Leaf,
    y: float,
    measure: ColourScale | None,
    family: int,
    column: tuple[float, float],
) -> None:
    left, width = column
    strong, pale = FAMILY_COLOURS[family % len(FAMILY_COLOURS)]
    share = leaf.relative_value
    fill = pale if measure is None else UNMEASURED_COLOUR if share is None else cividis_colour(share)
    ink = contrasting_colour(fill)
    value = "" if measure is None else format_value(leaf.value, measure)
    hover = f"{leaf.title}, {leaf.citation}. {leaf.idea}" + (f" {measure.name}: {value}." if measure else "")
    elements.append(Box(left + width / 2, y, width, 36, fill, strong, 1, radius=6, link=leaf.name, hover=hover))
    elements.append(TextLabel(left + 12, y - 7, leaf.title, 13, bold=True, colour=ink, anchor="start"))
    elements.append(TextLabel(left + 12, y + 9, leaf.citation, 11, colour=ink, anchor="start"))
    if value:
        elements.append(TextLabel(left + width - 12, y, value, 13, bold=True, colour=ink, anchor="end"))


def format_value(value: float | None, measure: ColourScale) -> str:
    """Format a value with its unit; None is a method without a run."""
    if value is None:
        return "no run yet"
    if measure.unit == "%":
        return f"{value:.1%}"
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {measure.unit}".strip()


def _draw_link(x0: float, y0: float, x1: float, y1: float) -> Line:
    middle = (x0 + x1) / 2
    return Line(((x0, y0), (middle, y0), (middle, y1), (x1, y1)), arrow=False, width=1.2)


def _draw_colour_scale(measure: ColourScale, left: float, width: float, above: bool = False) -> list[Element]:
    """Draw the scale in the middle of a column, with its name before it, or ``above`` it."""
    cells = 40
    start, step = left + width / 2 - 100, 200 / cells
    bar: list[Element] = [
        Box(start + step * (i + 0.5), 44, step + 0.3, 10, cividis_colour(i / (cells - 1)), radius=0)
        for i in range(cells)
    ]
    if not measure.high and not measure.low:
        return [TextLabel(left + width / 2, 44, f"{measure.name}: nothing measured yet", 11)]
    name = f"{measure.name}{', logarithmic' if measure.logarithmic else ''}"
    return [
        *bar,
        TextLabel(start - 8, 44, format_value(measure.low, measure), 10, anchor="end"),
        TextLabel(start + 208, 44, format_value(measure.high, measure), 10, anchor="start"),
        TextLabel(left + width / 2, 22, f"colour: {name}", 12, faint=True)
        if above
        else TextLabel(start - 60, 44, f"colour: {name}", 11, faint=True, anchor="end"),
    ]


def table_rows(tree: Taxonomy) -> Table:
    """Return the methods as table rows, with their branches and values."""
    value = (tree.colour_scale.name,) if tree.colour_scale else ()
    head = ("method", "title", "paper", *LEVELS, *value)
    rows = []
    for family in tree.root.branches:
        for group in family.branches:
            for where in group.branches:
                for leaf in where.leaves:
                    shown = ("" if leaf.value is None else f"{leaf.value:.6g}",) if value else ()
                    branch = family.label, group.label, where.label
                    rows.append((leaf.name, leaf.title, leaf.citation, *branch, *shown))
    return (head, *rows)


def describe_taxonomy(tree: Taxonomy) -> str:
    """Describe the tree: the methods of each family, and their values if it is coloured by a measure."""
    families = [
        f"{family.label}: " + ", ".join(leaf.title for leaf in family.methods()) for family in tree.root.branches
    ]
    words = f"Taxonomy of {len(tree.root.methods())} prompt-tuning methods. " + "; ".join(families) + "."
    if tree.colour_scale is not None:
        values = [f"{leaf.title} {format_value(leaf.value, tree.colour_scale)}" for leaf in tree.root.methods()]
        words += f" Coloured by {tree.colour_scale.name}: " + ", ".join(values) + "."
    return words
