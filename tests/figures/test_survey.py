"""The survey's figures: drawn for nothing, one thing and many, for every method, by shape and never by name."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.method_diagram import DiagramItem, DiagramPanel, backbone_panel, build_panel
from ptviz.analysis.parameter_cost import CostCurve, compute_cost_curve, value_grid
from ptviz.analysis.taxonomy import build_taxonomy
from ptviz.figures.diagrams.framework_comparison import draw_framework, draw_legend, draw_pair
from ptviz.figures.diagrams.layout import arrange_panel
from ptviz.figures.diagrams.method import draw_panel
from ptviz.figures.diagrams.plotly import to_figure
from ptviz.figures.diagrams.scene import (
    Box,
    HeatmapCells,
    Line,
    OperatorSign,
    Scene,
    TextLabel,
    bounding_box,
    cividis_colour,
    contrasting_colour,
    diverging_colour,
    transform,
)
from ptviz.figures.diagrams.stage_timeline import StageBar, draw_stage_timeline
from ptviz.figures.diagrams.svg import to_svg
from ptviz.figures.diagrams.taxonomy import draw_taxonomy
from ptviz.figures.parameter_cost import draw_parameter_cost
from ptviz.methods import REGISTRY, build_method
from ptviz.prompt import Spec

METHODS = pytest.mark.parametrize("name", list(REGISTRY))
HOSTILE = "<b>&\"'<script>alert(1)</script>"
SPEC = Spec.from_sizes(32, 4, 2, 8, 24, ("one", "two", "three"))


def panel(name: str) -> DiagramPanel:
    return build_panel(build_method(name, SPEC), 24, 32, 4, 1000)


def parsed(scene: Scene) -> ElementTree.Element:
    """The SVG, which must be well-formed XML."""
    return ElementTree.fromstring(to_svg(scene))


def overlapping(scene: Scene) -> list[tuple[Box, Box]]:
    """Pairs of filled blocks that cut each other, neither lying inside the other."""
    boxes = [e for e in scene.elements if isinstance(e, Box) and e.hover and e.fill and not e.link]

    def cut(a: Box, b: Box) -> bool:
        x = min(a.x + a.w / 2, b.x + b.w / 2) - max(a.x - a.w / 2, b.x - b.w / 2)
        y = min(a.y + a.h / 2, b.y + b.h / 2) - max(a.y - a.h / 2, b.y - b.h / 2)
        within = min(a.w, b.w) - x < 0.5 and min(a.h, b.h) - y < 0.5
        return x > 0.5 and y > 0.5 and not within

    return [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if cut(a, b)]


@METHODS
def test_every_method_draws_within_its_panel_and_without_overlaps(name: str):
    scene = draw_panel(panel(name))
    assert not overlapping(scene)
    left, top, right, bottom = bounding_box(e for e in scene.elements if not isinstance(e, TextLabel))
    assert left >= 0
    assert top >= 0
    assert right <= scene.width
    assert bottom <= scene.height
    assert REGISTRY[name].card.title in scene.alt
    assert f"{build_method(name, SPEC).trainable_parameters():,}" in scene.alt
    parsed(scene)


@METHODS
def test_every_item_of_a_panel_has_a_place(name: str):
    shown = panel(name)
    places = arrange_panel(shown)
    assert set(places.centre) == set(shown.items) == set(places.y)


@METHODS
def test_svg_and_plotly_draw_the_same_scene(name: str):
    scene = draw_panel(panel(name))
    figure = to_figure(scene)
    words = [element for element in scene.elements if isinstance(element, TextLabel)]
    assert len(figure.layout.annotations) == len(words)
    assert len(parsed(scene).findall(".//{http://www.w3.org/2000/svg}text")) == len(words)
    assert tuple(figure.layout.xaxis.range) == (0, scene.width)
    assert tuple(figure.layout.yaxis.range) == (scene.height, 0)
    assert json.loads(figure.to_json())["layout"]["meta"]["alt"] == scene.alt


@pytest.mark.parametrize("count", [0, 1, 3, 16])
def test_framework_draws_any_number_of_panels(count: int):
    panels = [backbone_panel(4, 24, 32)] * min(count, 1) + [panel(name) for name in list(REGISTRY)[: max(count - 1, 0)]]
    scene = draw_framework(panels)
    assert str(len(panels)) in scene.alt
    links = [element.link for element in scene.elements if isinstance(element, Box) and element.link]
    assert links == [shown.name for shown in panels if shown.trainable_parameters]
    parsed(scene)
    to_figure(scene)


@pytest.mark.parametrize("columns", [1, 3, 4])
def test_framework_keeps_the_groups_of_the_tree_together(columns: int):
    panels = [backbone_panel(4, 24, 32), *map(panel, REGISTRY)]
    scene = draw_framework(panels, columns)
    boxes = {e.link: e for e in scene.elements if isinstance(e, Box) and e.link}
    assert [*boxes] == [shown.name for shown in panels[1:]]
    words = [e for e in scene.elements if isinstance(e, TextLabel)]
    for group in {shown.branch[:2] for shown in panels[1:]}:
        (head,) = [text for text in words if text.text == " · ".join(group)][:1]
        members = [boxes[shown.name] for shown in panels if shown.branch[:2] == group]
        assert head.y < members[0].y - members[0].h / 2
        assert head.x < members[0].x
        if len(members) <= columns:
            assert len({(box.y, box.h) for box in members}) == 1, "one row, as tall as the tallest of it"
    # No two panels overlap, and none leaves the picture.
    for i, one in enumerate(boxes.values()):
        assert one.x + one.w / 2 <= scene.width
        assert one.y + one.h / 2 <= scene.height
        for other in [*boxes.values()][i + 1 :]:
            assert abs(one.x - other.x) >= one.w or abs(one.y - other.y) >= (one.h + other.h) / 2


def test_a_panel_is_as_tall_as_what_it_holds():
    small, large = draw_panel(panel("prompt-tuning")), draw_panel(panel("mpt"))
    assert small.height < large.height
    assert draw_panel(panel("prompt-tuning"), tall=large.height).height == large.height


@METHODS
def test_no_words_run_out_of_a_panel(name: str):
    scene = draw_panel(
        build_panel(build_method(name, Spec.from_sizes(384, 6, 12, 32, 64, ("a", "b", "c"))), 64, 384, 6, 22 * 10**6)
    )
    left, top, right, bottom = bounding_box(e for e in scene.elements if isinstance(e, TextLabel))
    assert left >= 4
    assert top >= 4
    assert right <= scene.width - 4
    assert bottom <= scene.height - 4


def test_what_a_drawing_cannot_show_is_said_in_and_beside_it():
    scene = draw_panel(panel("prefix-tuning"))
    said = " ".join(e.text for e in scene.elements if isinstance(e, TextLabel) and e.italic)
    assert "the text is not an input of the encoder" in said
    assert "The text is not an input of the encoder" in scene.alt


def test_a_router_says_how_many_it_picks():
    def words(**values: object) -> str:
        drawn = draw_panel(build_panel(build_method("smop", SPEC, values), 24, 32, 4))
        return " ".join(e.text for e in drawn.elements if isinstance(e, TextLabel))

    assert "picks one" in words()
    assert "picks some" in words(top=2)


def test_drawings_tell_their_rows():
    head, *rows = draw_panel(panel("dpt")).table
    assert head == ("method", "item", "kind", "state", "axes", "shape", "parameters")
    assert ("dpt", "A", "tensor", "trained", "m r", "10x4", "40") in rows
    framework = draw_framework([panel(name) for name in REGISTRY]).table
    assert {row[0] for row in framework[1:]} == set(REGISTRY)
    head, *rows = draw_pair(panel("prompt-tuning"), panel("smop")).table
    assert head[-1] == "only here"
    assert {row[1]: row[-1] for row in rows if row[0] == "smop"}["router"] == "yes"
    assert {row[1]: row[-1] for row in rows if row[0] == "smop"}["X"] == "no"
    cards = [method.card for method in REGISTRY.values()]
    head, *rows = draw_taxonomy(build_taxonomy(cards, {cards[1].name: 0.25}, "accuracy", "%")).table
    assert head[-1] == "accuracy"
    assert [row[0] for row in rows] == [card.name for card in cards]
    assert [row[-1] for row in rows[:2]] == ["", "0.25"]
    assert all(len(row) == len(head) for row in rows)
    assert draw_stage_timeline([StageBar("tune", "target", 5, "trains P")]).table[1] == (
        "tune",
        "target task",
        "5",
        "trains P",
        "gradient",
    )
    assert table_to_csv((("a", "b, c"), ("1", "2"))) == 'a,"b, c"\r\n1,2\r\n'


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("count", [0, 1, 4, 99])
def test_taxonomy_draws_any_number_of_methods(count: int, narrow: bool):
    cards = [method.card for method in REGISTRY.values()][:count]
    scene = draw_taxonomy(build_taxonomy(cards), narrow)
    links = [element.link for element in scene.elements if isinstance(element, Box) and element.link]
    assert sorted(links) == sorted(card.name for card in cards)
    assert all(card.title in scene.alt for card in cards)
    assert all(isinstance(e, Box) is False or e.y + e.h / 2 <= scene.height for e in scene.elements)
    assert not overlapping(scene)
    parsed(scene)


@pytest.mark.parametrize("narrow", [False, True])
def test_taxonomy_colours_say_their_value_and_unmeasured_ones_so(narrow: bool):
    cards = [method.card for method in REGISTRY.values()]
    values = {cards[0].name: 0.5, cards[1].name: 0.9}
    scene = draw_taxonomy(build_taxonomy(cards, values, "accuracy", "%"), narrow)
    words = [element.text for element in scene.elements if isinstance(element, TextLabel)]
    assert words.count("no run yet") == len(cards) - 2
    assert {"50.0%", "90.0%"} <= set(words)
    assert "50.0%" in scene.alt
    fills = {element.link: element.fill for element in scene.elements if isinstance(element, Box) and element.link}
    assert fills[cards[0].name] == cividis_colour(0)
    assert fills[cards[1].name] == cividis_colour(1)
    empty = draw_taxonomy(build_taxonomy(cards, {}, "accuracy", "%"), narrow)
    assert any("nothing measured yet" in e.text for e in empty.elements if isinstance(e, TextLabel))


def test_a_pair_rings_what_differs_and_nothing_else():
    one, other = panel("prompt-tuning"), panel("smop")
    scene = draw_pair(one, other)
    assert "router" in scene.alt
    same = draw_pair(one, one)
    assert "nothing" in same.alt
    assert len([e for e in scene.elements if isinstance(e, Box) and e.fill == "#A6E3CF"]) > 1
    assert len([e for e in same.elements if isinstance(e, Box) and e.fill == "#A6E3CF"]) == 1  # the key alone


def test_text_is_text_in_svg_and_in_plotly():
    item = DiagramItem("part-x", "tensor", "trained", HOSTILE, ("m", "d"), (2, 3))
    shown = DiagramPanel(
        HOSTILE, HOSTILE, HOSTILE, {"part-x": item}, (), "part-x", trainable_parameters=6, slots=2, sites=1
    )
    for page in (False, True):
        text = to_svg(draw_panel(shown, link=True), page=page)
        assert "<script" not in text
        root = ElementTree.fromstring(text)
        assert any(node.text == HOSTILE for node in root.iter())
    figure = to_figure(draw_panel(shown, link=True))
    assert not any("<script" in note.text for note in figure.layout.annotations)


def test_links_on_a_page_are_reached_by_keyboard():
    root = ElementTree.fromstring(to_svg(draw_framework([panel("smop")]), page=True))
    (link,) = [node for node in root.iter() if node.get("data-open")]
    assert link.get("data-open") == "smop"
    assert link.get("role") == "link"
    assert link.get("tabindex") == "0"
    assert "SMoP" in link.get("aria-label", "")
    assert root.get("role") == "group"  # an img would hide its links
    alone = ElementTree.fromstring(to_svg(draw_framework([panel("smop")])))
    assert alone.get("role") == "img"
    assert not [node for node in alone.iter() if node.get("data-open")]


def test_heat_maps_show_the_values():
    item = DiagramItem(
        "part-P", "tensor", "trained", "P", ("m", "d"), (2, 2), values=np.array([[1.0, -1.0], [0.0, 1.0]])
    )
    scene = draw_panel(
        DiagramPanel("x", "X", "y", {"part-P": item}, (), "part-P", trainable_parameters=4, slots=2, sites=1)
    )
    (cells,) = [element for element in scene.elements if isinstance(element, HeatmapCells)]
    assert cells.values.tolist() == [[1.0, -1.0], [0.0, 1.0]]
    drawn = to_svg(scene).split("crispEdges")[1]  # the frozen blue is the full blue of a heat map
    assert drawn.count(f'fill="{diverging_colour(1)}"') == 2
    assert drawn.count(f'fill="{diverging_colour(-1)}"') == 1
    (heat,) = [trace for trace in to_figure(scene).data if trace.type == "heatmap"]
    assert heat.zmax == -heat.zmin == cells.colour_limit


def test_pruned_rows_are_grey_where_the_masks_are_zero():
    item = DiagramItem(
        "part-P", "tensor", "trained", "P", ("m", "d"), (4, 3), masks=("g",), masked_shares=(0.0, 1.0, 0.5, 0.0)
    )
    scene = draw_panel(
        DiagramPanel("x", "X", "y", {"part-P": item}, (), "part-P", trainable_parameters=12, slots=4, sites=1)
    )
    grey = [element for element in scene.elements if isinstance(element, Box) and element.fill == "#A9A9A9"]
    assert [round(box.w / grey[0].w, 2) for box in grey] == [1.0, 0.5]
    assert "38% pruned" in grey[0].hover


def test_sizes_of_blocks_follow_their_axes():
    items = {
        "tall": DiagramItem("tall", "tensor", "trained", "A", ("m", "r"), (9, 2)),
        "wide": DiagramItem("wide", "tensor", "trained", "B", ("r", "d"), (2, 99)),
        "stack": DiagramItem("stack", "tensor", "trained", "C", ("k", "m", "r"), (3, 9, 2), stack=3),
    }
    size = arrange_panel(DiagramPanel("x", "X", "y", items, ())).size
    assert size["tall"][1] > size["tall"][0]
    assert size["wide"][0] > size["wide"][1]
    assert size["stack"][0] > size["tall"][0]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_stages_draw_any_number_of_legs(count: int):
    legs = [StageBar(f"leg {i}", ("target", "sources", "all")[i % 3], 10 * i, "trains P") for i in range(count)]
    scene = draw_stage_timeline(legs)
    parsed(scene)
    boxes = [element for element in scene.elements if isinstance(element, Box)]
    assert len(boxes) == count
    assert all(box.x + box.w / 2 <= scene.width for box in boxes)
    assert scene.alt.startswith(f"{count} stages")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_cost_draws_any_number_of_points(count: int):
    at = tuple(range(1, count + 1))
    figure = draw_parameter_cost(CostCurve("m", "prompt tokens", at, at, at, 2 if count else None))
    assert [len(trace.x) for trace in figure.data] == [count, count]


def test_cost_leaves_out_what_a_method_refuses():
    def count(value: int) -> tuple[int, int]:
        if value > 4:
            raise ValueError("too large")
        return 2 * value, value

    assert compute_cost_curve("m", "tokens", (1, 4, 9), count) == CostCurve("m", "tokens", (1, 4), (2, 8), (1, 4))


def test_ladder_climbs_and_holds_the_default():
    steps = value_grid(1, 200, 12)
    assert steps[0] == 1
    assert steps[-1] == 200
    assert 12 in steps
    assert list(steps) == sorted(set(steps))
    assert value_grid(3, 3, 3) == (3,)


def test_colours():
    assert diverging_colour(0) == "#F7F7F7"
    assert diverging_colour(float("nan")) == "#F7F7F7"
    assert diverging_colour(5) == diverging_colour(1) != diverging_colour(-1)
    assert contrasting_colour("#FFFFFF") == "#1B2430"
    assert contrasting_colour("#00224E") == "#FFFFFF"


def test_elements_move_and_scale_together():
    element = Box(1, 2, 3, 4)
    assert transform([element], 10, 20, 2) == [replace(element, x=12, y=24, w=6, h=8, radius=6)]
    assert transform([OperatorSign(1, 1, "sum")], 1, 1, 2) == [OperatorSign(3, 3, "sum", 18)]
    assert transform([Line(((0, 0), (1, 1)))], 1, 2, 3) == [Line(((1, 2), (4, 5)))]
    assert bounding_box([]) == (0, 0, 0, 0)
    assert draw_legend(300).height > draw_legend(1200).height


def test_svg_needs_no_plotly():
    loaded = "print('kaleido' in sys.modules, 'torch' in sys.modules)"
    script = f"import sys, ptviz.figures.diagrams.svg, ptviz.figures.diagrams.scene; {loaded}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
