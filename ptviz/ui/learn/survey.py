"""The survey's page: the family tree, all panels together, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from ptviz.analysis.taxonomy import Branch, build_taxonomy
from ptviz.figures.diagrams.framework_comparison import draw_framework, draw_pair
from ptviz.figures.diagrams.taxonomy import draw_taxonomy
from ptviz.methods import REGISTRY
from ptviz.plots.material import SOURCE_COUNT
from ptviz.ui import scripts
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.svg_drawing import render_drawing
from ptviz.ui.learn.method_diagrams import (
    BackboneShape,
    best_run_per_method,
    get_all_panels,
    get_method_panel,
    select_backbone_shape,
)

METHOD_PAGE = "learn/method.py"
INTRODUCTION = (
    "Every method here learns the same way: a language model stays frozen, a few numbers that enter it are trained. "
    "The methods differ in **where** those numbers enter and **how** they are made. Both figures follow "
    "[A Survey on Prompt Tuning](https://arxiv.org/abs/2507.06085) (Li, Su and Collier, 2025), and are drawn from the "
    "code that trains. Click a method to open it."
)
_BY_FAMILY, _BY_PARAMETERS, _BY_ACCURACY, _BY_TIME = (
    "by family",
    "by numbers trained",
    "by accuracy",
    "by training time",
)


def render_taxonomy() -> None:
    """Figure 1, with switches for its colours and an outline that keyboard and screen reader can walk."""
    st.header("Taxonomy")
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        shape = select_backbone_shape()
    with right:
        how = st.segmented_control(
            "Colour", [_BY_FAMILY, _BY_PARAMETERS, _BY_ACCURACY, _BY_TIME], default=_BY_FAMILY, key="colour",
            required=True,
            bind="query-params",
        )  # fmt: skip
    cards = [method.card for method in REGISTRY.values()]
    values: Mapping[str, float] = {}
    if how == _BY_PARAMETERS:
        values = {name: get_method_panel(name, shape).trainable_parameters for name in REGISTRY}
        tree = build_taxonomy(cards, values, "numbers trained on the target task", log=True)
    elif how in (_BY_ACCURACY, _BY_TIME):
        tasks = sorted({run.config.task for run in best_run_per_method(shape.name).values()})
        task = (
            select_one(
                "Task",
                {name: name for name in tasks},
                key="of-task",
                help="accuracies of one task only can be compared",
            )
            if len(tasks) > 1
            else next(iter(tasks), None)
        )
        best = best_run_per_method(shape.name, task)
        if how == _BY_ACCURACY:
            values = {name: run.status.accuracy or 0.0 for name, run in best.items()}
            tree = build_taxonomy(cards, values, "best validation accuracy", "%")
        else:
            values = {name: run.status.seconds for name, run in best.items()}
            tree = build_taxonomy(cards, values, "seconds of your best run", "s", log=True)
        if not best:
            st.caption(f"No finished run on {shape.title} yet: train some methods, and the tree takes their colours.")
        elif task:
            st.caption(f"Your own best run of each method on {task}. Runs may differ in their settings.")
    else:
        tree = build_taxonomy(cards)
    measure = tree.colour_scale
    told = (measure.name, measure.unit, measure.logarithmic) if measure else ("", "", False)
    python = scripts.taxonomy_script(values, *told)
    _open_method_page(
        render_drawing(draw_taxonomy(tree), key="taxonomy", name="ptviz-taxonomy", zoom=1.3, python=python)
    )
    with st.expander("The same tree as an outline", icon=":material/format_list_bulleted:"):
        _render_outline(tree.root)
    st.caption(
        "How to read it: from left to right, whether a method learns on the target task alone or from other tasks too; "
        "by what means; where the prompt enters or what is shared; and the method with its paper."
    )


def _render_outline(root: Branch) -> None:
    """The tree as text with links, a column a group: what a click does, for those who do not click."""
    for family in root.branches:
        st.markdown(f"**{family.label}**")
        for group, column in zip(family.branches, st.columns(max(len(family.branches), 4)), strict=False):
            with column, st.container(gap=None):
                st.caption(group.label)
                for leaf in group.methods():
                    st.page_link(METHOD_PAGE, label=leaf.title, query_params={"of": leaf.name}, help=leaf.idea)


def _open_method_page(name: str | None) -> None:
    if name:
        st.switch_page(METHOD_PAGE, query_params={"of": name})


def render_framework() -> None:
    """Figure 2: every method's panel under one legend."""
    st.header("Framework comparison")
    shape = _selected_backbone()
    panels = get_all_panels(shape)
    python = scripts.framework_script(shape.name)
    wide, narrow = draw_framework(panels), draw_framework(panels, 3)
    _open_method_page(
        render_drawing(wide, key="framework", name="ptviz-framework", zoom=1.25, python=python, narrow=narrow)
    )
    st.caption(
        f"How to read it: data flows upwards into the frozen {shape.title}. A block is as wide and as tall as its axes "
        "ask for: long for the embedding width, short for a rank, tall for many tokens. Below it stand its sizes. "
        f"Methods that learn from other tasks are drawn with {SOURCE_COUNT} source tasks. One difference from the survey's "
        "sketch: it feeds the input to prefix tuning's encoder; in the paper and here, that encoder never sees the "
        "text. The panel of CTPT is not in the survey."
    )


def _selected_backbone() -> BackboneShape:
    from ptviz import backbones

    known = {info.name: info for info in backbones.list_backbones()}
    return known.get(st.session_state.get("shape", ""), next(iter(known.values())))


def render_method_pair() -> None:
    """Two panels side by side."""
    st.header("Two side by side")
    titles = {name: method.card.title for name, method in REGISTRY.items()}
    names = list(titles)
    left, right = st.columns(2)
    with left:
        one = select_one("One", titles, key="one", help="drawn on the left")
    with right:
        others = {name: titles[name] for name in [*names[-1:], *names[:-1]]}
        other = select_one("Other", others, key="other", help="drawn on the right")
    shape = _selected_backbone()
    scene = draw_pair(get_method_panel(one, shape), get_method_panel(other, shape))
    python = scripts.method_pair_script(one, other, shape.name)
    render_drawing(scene, key="pair", name=f"ptviz-{one}-{other}", zoom=1.4, python=python)
    st.caption(scene.alt)
