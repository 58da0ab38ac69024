"""The page of one method: everything on it is read from the method's own declarations and from live modules."""

from __future__ import annotations

import inspect
import re
import sys

import pandas as pd
import streamlit as st

from ptviz.analysis.method_diagram import GREEK, DiagramPanel, symbol_to_text
from ptviz.figures.diagrams.framework_comparison import draw_legend
from ptviz.figures.diagrams.method import draw_panel
from ptviz.figures.diagrams.stage_timeline import draw_stage_timeline
from ptviz.figures.parameter_cost import draw_parameter_cost
from ptviz.methods import REGISTRY
from ptviz.methods.hyperparameters import hyperparameters_of
from ptviz.plots.material import build_run_panel, build_stage_bars
from ptviz.plots.method_style import method_title
from ptviz.runs import RunConfig
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.svg_drawing import render_drawing
from ptviz.ui.learn import method_diagrams
from ptviz.ui.learn.equation import render_equation
from ptviz.ui.learn.method_diagrams import (
    BackboneShape,
    get_method_panel,
    runs_of_method,
    select_backbone_shape,
    select_run,
)
from ptviz.ui.navigation import COMPOSE_PAGE, form_query_params

SURVEY_PAGE = "learn/survey.py"
AFTER_TRAINING, BEFORE_TRAINING = "after training", "before training"
_SIDE_HEIGHT = 290
"""Height in pixels of what stands beside the anatomy."""
AXIS_NAMES = {
    "m": "prompt tokens", "d": "embedding width", "r": "rank", "k": "experts or source tasks", "T": "input tokens",
    "S": "attention sites", "H": "key/value heads", "h": "width of a head", "kv": "key and value", "c": "classes",
}  # fmt: skip


def render_method_header() -> tuple[str, BackboneShape]:
    """Title, idea, and what leads on from here; the method's name and the backbone's sizes."""
    top = st.container()
    left, right = st.columns(2)
    with left:
        titles = {name: method.card.title for name, method in REGISTRY.items()}
        name = select_one("Method", titles, key="of", help="the survey's order")
    with right:
        shape = select_backbone_shape()
    card = REGISTRY[name].card
    with top:
        st.title(card.title)
        st.markdown(f"**{card.idea}**")
        st.markdown(f"{card.lesson} **Try:** {card.suggested_experiment}")
        st.caption(f"[{card.citation}]({card.url}). In the survey: {', '.join(card.branch)}.")
        config = RunConfig(backbone=shape.name, method=name)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                COMPOSE_PAGE, label="Train it now", icon=":material/play_arrow:", query_params=form_query_params(config)
            )
            st.page_link(SURVEY_PAGE, label="All methods", icon=":material/account_tree:")
            with st.popover("Copy as Python", icon=":material/code:"):
                st.code(config.checked().python_script(), language="python")
    return name, shape


def render_method_diagram(name: str, shape: BackboneShape) -> None:
    """The panel, the equation, and every symbol with its shape; with a run's tensors, before and after training."""
    left, right = st.columns([2, 3], gap="large")
    with right:
        st.header("Equation")
        render_equation(name, shape)
        _render_parameter_counts(get_method_panel(name, shape))
        symbols, source = st.tabs(["Shapes", "Source file"])
        with symbols:
            _render_shapes(name, shape)
        with source:
            _render_source(name)
    with left:
        st.header("Anatomy")
        run = select_run(name)
        if run is None and not runs_of_method(name):
            st.caption("Once you have trained a run of this method, its tensors can be looked at here.")
        drawn, when = get_method_panel(name, shape), None
        if run is not None:
            when = st.segmented_control(
                "Tensors", [AFTER_TRAINING, BEFORE_TRAINING], default=AFTER_TRAINING, key="when", required=True,
                label_visibility="collapsed",
                bind="query-params",
            )  # fmt: skip
            drawn = build_run_panel(run, first=when == BEFORE_TRAINING)
        python = scripts.method_panel_script(name, shape.name, run, first=when == BEFORE_TRAINING)
        render_drawing(draw_panel(drawn), key="anatomy", name=f"ptviz-{name}", zoom=1.5, python=python)
        if run is not None:
            st.caption(
                "Heat maps: the run's own tensors, blue below zero, orange above, each on a scale of its own (point at "
                "one to see it); long axes are averaged."
            )
        render_drawing(draw_legend(400), key="legend")


def _render_shapes(name: str, shape: BackboneShape) -> None:
    rows = method_diagrams.list_symbols(name, shape, get_method_panel(name, shape))
    height = min(36 * (len(rows) + 1) + 2, _SIDE_HEIGHT)
    st.dataframe(rows, hide_index=True, width="stretch", height=height, column_config={"part": None})
    used = {axis for row in rows for axis in row["axes"].split(", ")}
    known = ", ".join(f"{axis} {words}" for axis, words in AXIS_NAMES.items() if axis in used)
    st.caption(f"Shapes are those on {shape.title}. Axes: {known}; any other is the method's own.")


def _render_source(name: str) -> None:
    """The method's own file: the equation as it runs."""
    code = inspect.getsource(sys.modules[REGISTRY[name].__module__])
    st.code(code, language="python", line_numbers=True, height=_SIDE_HEIGHT)
    st.caption(f"The file that trains {method_title(name)}, as it is installed here.")


def _render_parameter_counts(panel: DiagramPanel) -> None:
    share = (
        f", {panel.trainable_parameters / panel.frozen_parameters:.3%} of the frozen numbers"
        if panel.frozen_parameters
        else ""
    )
    st.markdown(
        f"**{panel.trainable_parameters:,}** numbers are trained{share}; **{panel.stored_parameters:,}** are kept for use."
    )


def render_stages(name: str, shape: BackboneShape) -> None:
    """The legs of training in order."""
    st.header("Stages")
    steps = RunConfig().training.steps
    scene = draw_stage_timeline(build_stage_bars(name, shape, steps))
    render_drawing(
        scene,
        key="stages",
        name=f"ptviz-{name}-stages",
        zoom=1.4,
        python=scripts.stage_timeline_script(name, shape.name, steps),
    )
    st.caption(f"Steps are those of a run of {steps:,} steps, the usual length. Everything else stays frozen.")


def render_hyperparameters(name: str) -> None:
    """What each knob does, and its bounds."""
    st.header("Knobs")
    rows = []
    for knob, info in hyperparameters_of(REGISTRY[name]).items():
        span = ", ".join(info.choices)
        if info.declaration.minimum is not None and info.declaration.maximum is not None:
            span = f"{info.declaration.minimum:g} to {info.declaration.maximum:g}"
        rows.append(
            {"name": knob, "symbol": _symbols_to_text(info.declaration.symbol),
            "what it does": info.declaration.meaning,
             "default": str(info.default), "range": span}
        )  # fmt: skip
    # A table, because it breaks its lines: what a knob does takes a sentence.
    st.table(pd.DataFrame(rows).set_index("name"))


_SYMBOL = re.compile(rf"\b(?:[A-Za-z]|{'|'.join(GREEK)})(?:_[A-Za-z0-9]+)?\b")


def _symbols_to_text(symbol: str) -> str:
    """A knob's symbol, which may be several with signs between them."""
    return _SYMBOL.sub(lambda found: symbol_to_text(found[0]), symbol)


def render_parameter_cost(name: str, shape: BackboneShape) -> None:
    """How the counts grow with the knobs that they depend on."""
    curves = method_diagrams.get_cost_curves(name, shape)
    if not curves:
        return
    st.header("Cost")
    columns = st.columns(min(len(curves), 3))
    for i, curve in enumerate(curves):
        with columns[i % len(columns)]:
            ends = f"{curve.trainable_parameters[0]:,} at {curve.values[0]}, {curve.trainable_parameters[-1]:,} at {curve.values[-1]}"
            figure_panel(
                draw_parameter_cost(curve), f"Numbers trained over {curve.meaning}: {ends}.",
                "Orange is trained, blue is kept for use; the dotted line is the usual value.", key=f"cost-{i}",
                name=f"ptviz-{name}-cost-{curve.hyperparameter}", tools=False,
                python=scripts.parameter_cost_script(name, shape.name, curve.hyperparameter),
            )  # fmt: skip
    st.caption(f"Counted on live modules with the shapes of {shape.title}, one knob at a time.")


def render_differences_and_limits(name: str, shape: BackboneShape) -> None:
    """Where the code differs from the paper, and what follows from the method's own declarations."""
    card = REGISTRY[name].card
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Where our code differs")
        st.markdown(card.differs or "It follows the paper.")
    good, limits = method_diagrams.list_advantages_and_limits(name, shape)
    with right:
        st.header("Advantages and limits")
        st.caption("Our analysis, from the method's shapes and stages; not the survey's words.")
        lines = [f":material/add_circle: {line}" for line in good]
        lines += [f":material/do_not_disturb_on: {line}" for line in limits]
        st.markdown("\n\n".join(lines))
