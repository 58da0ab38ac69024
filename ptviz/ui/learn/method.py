"""The page of one method, made from the method's own declarations and from live modules."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import streamlit as st

from ptviz.analysis.method_diagram import GREEK, DiagramPanel, symbol_to_text
from ptviz.backbones import BackboneInfo
from ptviz.figures.diagrams.framework_comparison import draw_legend
from ptviz.methods import list_methods
from ptviz.methods.equation_symbols import COMMON_DIFFERENCES
from ptviz.plots import plot_method, plot_parameter_cost, plot_stages
from ptviz.plots.method_panels import build_method_panel, compute_cost_curves
from ptviz.plots.method_style import method_title
from ptviz.plots.snippet import training_snippet
from ptviz.runs import RunConfig
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.svg_drawing import render_drawing, render_plot_drawing
from ptviz.ui.learn.equation import render_equation
from ptviz.ui.learn.method_details import (
    list_advantages_and_limits,
    list_symbols,
    runs_of_method,
    select_backbone_shape,
    select_run,
)
from ptviz.ui.navigation import NEW_RUN_PAGE, form_query_params

SURVEY_PAGE = "learn/survey.py"
AFTER_TRAINING, BEFORE_TRAINING = "after training", "before training"
_SIDE_HEIGHT = 290
"""Height in pixels of the tables next to the diagram."""
AXIS_NAMES = {
    "m": "prompt tokens",
    "d": "embedding width",
    "r": "rank",
    "k": "experts or source tasks",
    "T": "input tokens",
    "S": "attention sites",
    "s": "attention sites with a prefix",
    "H": "key/value heads",
    "h": "width of a head",
    "kv": "key and value",
    "c": "classes",
}


def render_method_header() -> tuple[str, BackboneInfo]:
    """Show title, idea and links; return the method's name and the backbone's sizes."""
    top = st.container()
    left, right = st.columns(2)
    with left:
        titles = {name: method.card.title for name, method in list_methods().items()}
        name = select_one("Method", titles, key="of", help="the survey's order")
    with right:
        shape = select_backbone_shape()
    card = list_methods()[name].card
    with top:
        st.title(card.title)
        st.markdown(f"**{card.idea}**")
        st.markdown(f"{card.lesson} **Try:** {card.suggested_experiment}")
        st.caption(f"[{card.citation}]({card.url}). In the survey: {', '.join(card.branch)}.")
        config = RunConfig(backbone=shape.name, method=name)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                NEW_RUN_PAGE, label="Train it now", icon=":material/play_arrow:", query_params=form_query_params(config)
            )
            st.page_link(SURVEY_PAGE, label="All methods", icon=":material/account_tree:")
            with st.popover("Copy as Python", icon=":material/code:"):
                st.code(training_snippet(config), language="python")
    return name, shape


def render_method_diagram(name: str, shape: BackboneInfo) -> None:
    """Show the panel, the equation and the shape of every symbol; with a run's tensors, before and after training."""
    left, right = st.columns([2, 3], gap="large")
    with right:
        st.header("Equation")
        render_equation(name, shape)
        _render_parameter_counts(build_method_panel(name, shape))
        symbols, source = st.tabs(["Shapes", "Source file"])
        with symbols:
            _render_shapes(name, shape)
        with source:
            _render_source(name)
    with left:
        st.header("Diagram")
        run = select_run(name)
        if run is None and not runs_of_method(name):
            st.caption("Once you have trained a run of this method, its tensors can be shown here.")
        if run is None:
            render_plot_drawing(
                plot_method, name, key="anatomy", filename=f"ptviz-{name}", zoom=1.5, backbone=shape.name
            )
        else:
            when = st.segmented_control(
                "Tensors",
                [AFTER_TRAINING, BEFORE_TRAINING],
                default=AFTER_TRAINING,
                key="when",
                required=True,
                label_visibility="collapsed",
                bind="query-params",
            )
            render_plot_drawing(
                plot_method,
                run,
                key="anatomy",
                filename=f"ptviz-{name}",
                zoom=1.5,
                before_training=when == BEFORE_TRAINING,
            )
            st.caption(
                "Heat maps: the run's own tensors, blue below zero, orange above, each on its own scale (point at one "
                "to see it); long axes are averaged."
            )
        render_drawing(draw_legend(400), key="legend")


def _render_shapes(name: str, shape: BackboneInfo) -> None:
    rows = list_symbols(name, shape, build_method_panel(name, shape))
    height = min(36 * (len(rows) + 1) + 2, _SIDE_HEIGHT)
    st.dataframe(rows, hide_index=True, width="stretch", height=height, column_config={"part": None})
    used = {axis for row in rows for axis in row["axes"].split(", ")}
    known = ", ".join(f"{axis} {words}" for axis, words in AXIS_NAMES.items() if axis in used)
    st.caption(f"Shapes are those on {shape.title}. Axes: {known}; any other is the method's own.")


def _render_source(name: str) -> None:
    """Show the source file of the method."""
    spec = find_spec(list_methods()[name].module)
    code = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin is not None else ""
    st.code(code, language="python", line_numbers=True, height=_SIDE_HEIGHT)
    st.caption(f"The file that trains {method_title(name)}, as installed here.")


def _render_parameter_counts(panel: DiagramPanel) -> None:
    share = ""
    if panel.frozen_parameters:
        share = f" ({panel.trainable_parameters / panel.frozen_parameters:.3%} of the frozen parameters)"
    st.markdown(
        f"**{panel.trainable_parameters:,}** trainable parameters{share}; "
        f"**{panel.stored_parameters:,}** parameters are stored for inference."
    )


def render_stages(name: str, shape: BackboneInfo) -> None:
    """Show the training stages in order."""
    st.header("Stages")
    steps = RunConfig().training.steps
    render_plot_drawing(
        plot_stages, name, key="stages", filename=f"ptviz-{name}-stages", zoom=1.4, backbone=shape.name, steps=steps
    )
    st.caption(f"Steps are those of a run with the default of {steps:,} steps. Everything else stays frozen.")


def render_hyperparameters(name: str) -> None:
    """Show the meaning, default and bounds of each hyperparameter."""
    st.header("Hyperparameters")
    rows = []
    for hyperparameter, info in list_methods()[name].hyperparameters.items():
        declared = info.declaration
        span = ", ".join(info.choices)
        if declared.minimum is not None and declared.maximum is not None:
            span = f"{declared.minimum:g} to {declared.maximum:g}"
        rows.append(
            {
                "name": hyperparameter,
                "symbol": _symbols_to_text(declared.symbol),
                "meaning": declared.meaning,
                "default": str(info.default),
                "range": span,
            }
        )
    # A table, because it breaks its lines: a meaning takes a sentence.
    st.table(pd.DataFrame(rows).set_index("name"))


_SYMBOL = re.compile(rf"\b(?:[A-Za-z]|{'|'.join(GREEK)})(?:_[A-Za-z0-9]+)?\b")


def _symbols_to_text(symbol: str) -> str:
    """Return a hyperparameter's symbol as text; it may be several symbols with signs between them."""
    return _SYMBOL.sub(lambda found: symbol_to_text(found[0]), symbol)


def render_parameter_cost(name: str, shape: BackboneInfo) -> None:
    """Show how the parameter counts grow with the hyperparameters that they depend on."""
    curves = compute_cost_curves(name, shape)
    if not curves:
        return
    st.header("Cost")
    columns = st.columns(min(len(curves), 3))
    for i, curve in enumerate(curves):
        with columns[i % len(columns)]:
            render_plot(
                plot_parameter_cost,
                name,
                curve.hyperparameter,
                key=f"cost-{i}",
                caption="Orange: trainable parameters. Blue: parameters stored for inference. Dotted: the default.",
                filename=f"ptviz-{name}-cost-{curve.hyperparameter}",
                toolbar=False,
                backbone=shape.name,
            )
    st.caption(f"Counted on live modules with the shapes of {shape.title}, one hyperparameter at a time.")


def render_differences_and_limits(name: str, shape: BackboneInfo) -> None:
    """Show where the code differs from the paper, and what follows from the method's own declarations."""
    card = list_methods()[name].card
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Where our code differs")
        st.markdown(card.differs or "It follows the paper.")
        st.caption(COMMON_DIFFERENCES)
    good, limits = list_advantages_and_limits(name, shape)
    with right:
        st.header("Advantages and limits")
        st.caption("Our analysis, from the method's shapes and stages; not the survey's text.")
        lines = [f":material/add_circle: {line}" for line in good]
        lines += [f":material/do_not_disturb_on: {line}" for line in limits]
        st.markdown("\n\n".join(lines))
