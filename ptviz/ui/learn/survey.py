"""The survey's page: the taxonomy, all panels together, and two panels side by side."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ptviz import backbones
from ptviz.analysis.taxonomy import Branch
from ptviz.backbones import BackboneInfo
from ptviz.methods import list_methods
from ptviz.plots import plot_framework, plot_method_pair, plot_taxonomy
from ptviz.plots.method_panels import SOURCE_COUNT
from ptviz.plots.survey import TaxonomyColour, best_run_per_method, build_coloured_taxonomy
from ptviz.runs import RunSummary
from ptviz.runs.config import task_label
from ptviz.ui.backend import get_store
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.svg_drawing import render_plot_drawing
from ptviz.ui.learn.method_details import select_backbone_shape
from ptviz.ui.recorded_runs import shown_recorded_runs

METHOD_PAGE = "learn/method.py"
INTRODUCTION = (
    "All methods share one idea: the language model stays [[frozen]], and a small number of "
    "[[parameter|parameters]] that enter it are trained. The methods differ in **where** these parameters enter and "
    "**how** they are computed. Both figures follow [A Survey on Prompt Tuning](https://arxiv.org/abs/2507.06085) "
    "(Li, Su and Collier, 2025), and are drawn from the code that trains. Click a method to open it."
)
_COLOURS: dict[str, TaxonomyColour] = {
    "by family": "family",
    "by trainable parameters": "parameters",
    "by accuracy": "accuracy",
    "by training time": "time",
}
_NARROW_COLUMNS = (3, 1)
"""Panels beside one another on a narrow page, and on a phone."""
_LAST_COLOUR = "last-colour"


def render_taxonomy() -> None:
    """Show figure 1 with a choice of colours, and an outline for keyboard and screen reader."""
    st.header("Taxonomy")
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        shape = select_backbone_shape()
    with right:
        chosen = st.segmented_control(
            "Colour",
            list(_COLOURS),
            default=st.session_state.get(_LAST_COLOUR, "by family"),
            key="colour",
            required=True,
            bind="query-params",
        )
        # A widget is forgotten while another page is shown: a method's, and back.
        st.session_state[_LAST_COLOUR] = chosen
    colour_by = _COLOURS[str(chosen)]
    # What the figure does not depend on stays out of its snippet.
    options: dict[str, Any] | None = {"family": {}, "parameters": {"backbone": shape.name}}.get(colour_by)
    if options is None:
        options = _select_runs(shape)
    clicked = render_plot_drawing(
        plot_taxonomy,
        key="taxonomy",
        filename="ptviz-taxonomy",
        caption="How to read it: whether a method learns on the target task only or also from other tasks; by what "
        "means; where the prompt enters or what is shared; and the method with its paper.",
        zoom=1.3,
        narrower=[plot_taxonomy(colour_by=colour_by, narrow=True, **options)],
        colour_by=colour_by,
        **options,
    )
    _open_method_page(clicked)
    with st.expander("The same tree as an outline", icon=":material/format_list_bulleted:"):
        _render_outline(build_coloured_taxonomy("family", shape.name, "").root)


def _select_runs(shape: BackboneInfo) -> dict[str, Any]:
    """Return the options of the figure that choose the runs which colour it: your own if there are any."""
    groups = {"Your runs": get_store().list(), "Recorded runs": shown_recorded_runs()}
    groups = {name: runs for name, runs in groups.items() if best_run_per_method(runs, shape.name)}
    if not groups:
        st.caption(f"No finished run on {shape.title}: train some methods to colour the tree.")
        return {"backbone": shape.name}
    group = next(iter(groups))
    if len(groups) > 1:
        group = str(
            st.segmented_control("Coloured by", list(groups), default=group, key="coloured-runs", required=True)
        )
    recorded = {"recorded": True} if group == "Recorded runs" else {}
    return {"backbone": shape.name, "task": _select_task(groups[group], shape, group), **recorded}


def _select_task(runs: list[RunSummary], shape: BackboneInfo, group: str) -> str:
    """Return the task whose runs colour the tree: first the one on which most methods were trained."""
    found = [run for run in runs if run.config.backbone == shape.name]
    methods = {task: {run.config.method for run in found if run.config.task == task} for task in _tasks_of(found)}
    tasks = sorted(methods, key=lambda task: (-len(methods[task]), task))
    task = tasks[0]
    if len(tasks) > 1:
        titles = {name: task_label(name) for name in tasks}
        task = select_one("Task", titles, key="of-task", help="only scores on the same task can be compared")
    st.caption(f"{group}: the best of each method on {task_label(task)}. Runs may differ in their settings.")
    return task


def _tasks_of(runs: list[RunSummary]) -> list[str]:
    """Return the tasks of finished runs on one task, each once."""
    return sorted({run.config.task for run in runs if run.status.state == "finished" and not run.config.more_tasks})


def _render_outline(root: Branch) -> None:
    """Show the tree as text with links, one column per group: the same links without a mouse."""
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
    """Show figure 2: every method's panel under one legend."""
    st.header("Framework comparison")
    shape = _selected_backbone()
    clicked = render_plot_drawing(
        plot_framework,
        key="framework",
        filename="ptviz-framework",
        zoom=1.25,
        narrower=[plot_framework(backbone=shape.name, columns=columns) for columns in _NARROW_COLUMNS],
        backbone=shape.name,
    )
    _open_method_page(clicked)
    st.caption(
        f"How to read it: data flows upwards into the frozen {shape.title}. The width and height of a block follow its "
        "axes: long for the embedding width, short for a rank, tall for many tokens. Its sizes are written below it. "
        f"Methods that learn from other tasks are drawn with {SOURCE_COUNT} source tasks. One difference from the "
        "survey's sketch: it feeds the input to the encoder of prefix tuning; in the paper and here, that encoder "
        "never sees the text. The panel of CTPT is not in the survey."
    )


def _selected_backbone() -> BackboneInfo:
    known = {info.name: info for info in backbones.list_backbones()}
    return known.get(st.session_state.get("shape", ""), next(iter(known.values())))


def render_method_pair() -> None:
    """Show two panels side by side."""
    st.header("Two side by side")
    titles = {name: method.card.title for name, method in list_methods().items()}
    names = list(titles)
    left, right = st.columns(2)
    with left:
        one = select_one("One", titles, key="one", help="drawn on the left")
    with right:
        others = {name: titles[name] for name in [*names[-1:], *names[:-1]]}
        other = select_one("Other", others, key="other", help="drawn on the right")
    backbone = _selected_backbone().name
    render_plot_drawing(
        plot_method_pair,
        one,
        other,
        key="pair",
        filename=f"ptviz-{one}-{other}",
        caption=plot_method_pair(one, other, backbone=backbone).scene.alt,
        zoom=1.4,
        backbone=backbone,
    )
