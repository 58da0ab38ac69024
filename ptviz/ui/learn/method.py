"""The page of one method: everything on it is read from the method's own declarations and from live modules."""

from __future__ import annotations

import inspect
import re
import sys

import pandas as pd
import streamlit as st

from ptviz.analysis.method_diagram import GREEK, Panel, spoken
from ptviz.figures.diagrams.framework_comparison import legend_scene
from ptviz.figures.diagrams.method import draw_panel
from ptviz.figures.diagrams.stage_timeline import draw_stages
from ptviz.figures.parameter_cost import draw_cost
from ptviz.methods import REGISTRY
from ptviz.methods.hyperparameters import knobs_of
from ptviz.plots.material import legs_of, live_panel
from ptviz.plots.method_style import title_of
from ptviz.runs import RunConfig
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.forms import pick
from ptviz.ui.components.svg_drawing import drawing
from ptviz.ui.learn import method_diagrams
from ptviz.ui.learn.equation import equation
from ptviz.ui.learn.method_diagrams import Shape, choose_run, choose_shape, panel_of, runs_of
from ptviz.ui.navigation import COMPOSE, address_of

SURVEY = "learn/survey.py"
AFTER, BEFORE = "after training", "before training"
_BESIDE = 290
"""Height in pixels of what stands beside the anatomy."""
AXES = {
    "m": "prompt tokens", "d": "embedding width", "r": "rank", "k": "experts or source tasks", "T": "input tokens",
    "S": "attention sites", "H": "key/value heads", "h": "width of a head", "kv": "key and value", "c": "classes",
}  # fmt: skip


def head() -> tuple[str, Shape]:
    """Title, idea, and what leads on from here; the method's name and the backbone's sizes."""
    top = st.container()
    left, right = st.columns(2)
    with left:
        titles = {name: method.card.title for name, method in REGISTRY.items()}
        name = pick("Method", titles, key="of", help="the survey's order")
    with right:
        shape = choose_shape()
    card = REGISTRY[name].card
    with top:
        st.title(card.title)
        st.markdown(f"**{card.idea}**")
        st.markdown(f"{card.lesson} **Try:** {card.tries}")
        st.caption(f"[{card.citation}]({card.url}). In the survey: {', '.join(card.branch)}.")
        config = RunConfig(backbone=shape.name, method=name)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(COMPOSE, label="Train it now", icon=":material/play_arrow:", query_params=address_of(config))
            st.page_link(SURVEY, label="All methods", icon=":material/account_tree:")
            with st.popover("Copy as Python", icon=":material/code:"):
                st.code(config.checked().python(), language="python")
    return name, shape


def anatomy(name: str, shape: Shape) -> None:
    """The panel, the equation, and every symbol with its shape; with a run's tensors, before and after training."""
    left, right = st.columns([2, 3], gap="large")
    with right:
        st.header("Equation")
        equation(name, shape)
        _told(panel_of(name, shape))
        symbols, source = st.tabs(["Shapes", "Source file"])
        with symbols:
            _shapes(name, shape)
        with source:
            _source(name)
    with left:
        st.header("Anatomy")
        run = choose_run(name)
        if run is None and not runs_of(name):
            st.caption("Once you have trained a run of this method, its tensors can be looked at here.")
        drawn, when = panel_of(name, shape), None
        if run is not None:
            when = st.segmented_control(
                "Tensors", [AFTER, BEFORE], default=AFTER, key="when", required=True, label_visibility="collapsed",
                bind="query-params",
            )  # fmt: skip
            drawn = live_panel(run, first=when == BEFORE)
        python = scripts.panel(name, shape.name, run, first=when == BEFORE)
        drawing(draw_panel(drawn), key="anatomy", name=f"ptviz-{name}", zoom=1.5, python=python)
        if run is not None:
            st.caption(
                "Heat maps: the run's own tensors, blue below zero, orange above, each on a scale of its own (point at "
                "one to see it); long axes are averaged."
            )
        drawing(legend_scene(400), key="legend")


def _shapes(name: str, shape: Shape) -> None:
    rows = method_diagrams.symbols(name, shape, panel_of(name, shape))
    height = min(36 * (len(rows) + 1) + 2, _BESIDE)
    st.dataframe(rows, hide_index=True, width="stretch", height=height, column_config={"part": None})
    used = {axis for row in rows for axis in row["axes"].split(", ")}
    known = ", ".join(f"{axis} {words}" for axis, words in AXES.items() if axis in used)
    st.caption(f"Shapes are those on {shape.title}. Axes: {known}; any other is the method's own.")


def _source(name: str) -> None:
    """The method's own file: the equation as it runs."""
    code = inspect.getsource(sys.modules[REGISTRY[name].__module__])
    st.code(code, language="python", line_numbers=True, height=_BESIDE)
    st.caption(f"The file that trains {title_of(name)}, as it is installed here.")


def _told(panel: Panel) -> None:
    share = f", {panel.trained / panel.frozen:.3%} of the frozen numbers" if panel.frozen else ""
    st.markdown(f"**{panel.trained:,}** numbers are trained{share}; **{panel.stored:,}** are kept for use.")


def stages(name: str, shape: Shape) -> None:
    """The legs of training in order."""
    st.header("Stages")
    steps = RunConfig().training.steps
    scene = draw_stages(legs_of(name, shape, steps))
    drawing(scene, key="stages", name=f"ptviz-{name}-stages", zoom=1.4, python=scripts.stages(name, shape.name, steps))
    st.caption(f"Steps are those of a run of {steps:,} steps, the usual length. Everything else stays frozen.")


def knobs(name: str) -> None:
    """What each knob does, and its bounds."""
    st.header("Knobs")
    rows = []
    for knob, info in knobs_of(REGISTRY[name]).items():
        span = ", ".join(info.choices)
        if info.knob.low is not None and info.knob.high is not None:
            span = f"{info.knob.low:g} to {info.knob.high:g}"
        rows.append(
            {"name": knob, "symbol": _spoken(info.knob.symbol), "what it does": info.knob.meaning,
             "default": str(info.default), "range": span}
        )  # fmt: skip
    # A table, because it breaks its lines: what a knob does takes a sentence.
    st.table(pd.DataFrame(rows).set_index("name"))


_SYMBOL = re.compile(rf"\b(?:[A-Za-z]|{'|'.join(GREEK)})(?:_[A-Za-z0-9]+)?\b")


def _spoken(symbol: str) -> str:
    """A knob's symbol, which may be several with signs between them."""
    return _SYMBOL.sub(lambda found: spoken(found[0]), symbol)


def cost(name: str, shape: Shape) -> None:
    """How the counts grow with the knobs that they depend on."""
    curves = method_diagrams.costs(name, shape)
    if not curves:
        return
    st.header("Cost")
    columns = st.columns(min(len(curves), 3))
    for i, curve in enumerate(curves):
        with columns[i % len(columns)]:
            ends = f"{curve.trained[0]:,} at {curve.at[0]}, {curve.trained[-1]:,} at {curve.at[-1]}"
            panel(
                draw_cost(curve), f"Numbers trained over {curve.meaning}: {ends}.",
                "Orange is trained, blue is kept for use; the dotted line is the usual value.", key=f"cost-{i}",
                name=f"ptviz-{name}-cost-{curve.knob}", tools=False, python=scripts.cost(name, shape.name, curve.knob),
            )  # fmt: skip
    st.caption(f"Counted on live modules with the shapes of {shape.title}, one knob at a time.")


def judgement(name: str, shape: Shape) -> None:
    """Where the code differs from the paper, and what follows from the method's own declarations."""
    card = REGISTRY[name].card
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Where our code differs")
        st.markdown(card.differs or "It follows the paper.")
    good, limits = method_diagrams.traits(name, shape)
    with right:
        st.header("Advantages and limits")
        st.caption("Our analysis, from the method's shapes and stages; not the survey's words.")
        lines = [f":material/add_circle: {line}" for line in good]
        lines += [f":material/do_not_disturb_on: {line}" for line in limits]
        st.markdown("\n\n".join(lines))
