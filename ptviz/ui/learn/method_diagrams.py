"""Live methods on a chosen backbone's shape, ready to draw; and the same with the tensors of one of your runs."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from ptviz import backbones
from ptviz.analysis.method_diagram import Panel, spoken
from ptviz.analysis.parameter_cost import CostCurve
from ptviz.methods import REGISTRY, build
from ptviz.plots import material
from ptviz.plots.material import spec_of
from ptviz.runs import Run, Summary
from ptviz.ui.backend import store
from ptviz.ui.components.formatting import percent
from ptviz.ui.components.forms import pick

TIMES = " × "  # noqa: RUF001  # the sign of a product
Shape = backbones.BackboneInfo


def choose_shape(key: str = "shape") -> Shape:
    """The backbone whose sizes the figures show."""
    known = {info.name: info for info in backbones.catalogue()}
    name = pick(
        "Backbone", {name: info.title for name, info in known.items()}, key=key, help="shapes and counts are for it"
    )
    return known[name]


def panel_of(name: str, shape: Shape, knobs: Mapping[str, object] | None = None) -> Panel:
    """One method's panel; cached, because sizes do not change."""
    return _panel(name, shape, tuple(sorted((knobs or {}).items())))


@st.cache_data(max_entries=400, show_spinner=False)
def _panel(name: str, shape: Shape, knobs: tuple[tuple[str, object], ...]) -> Panel:
    return material.panel_of(name, shape, dict(knobs))


@st.cache_data(max_entries=20, show_spinner=False)
def all_panels(shape: Shape) -> list[Panel]:
    """The backbone alone, then every method of the registry, in the survey's order."""
    return material.all_panels(shape)


@st.cache_data(max_entries=200, show_spinner=False)
def costs(name: str, shape: Shape) -> list[CostCurve]:
    """How the counts grow with each of the method's whole-number knobs that they depend on."""
    return material.costs_of(name, shape)


def runs_of(name: str) -> list[Summary]:
    """Your runs of a method that have a prompt to look at."""
    return [run for run in store().list() if run.config.method == name and run.status.kept is not None]


def choose_run(name: str) -> Run | None:
    """One of your runs of this method, whose tensors the panel shall show; None for shapes alone."""
    mine = {run.id: f"{run.name} ({percent(run.status.accuracy)})" for run in runs_of(name)}
    if not mine:
        return None
    titles = {"": "shapes alone", **mine}
    asked = pick("Tensors of", titles, key=f"run-{name}", help="small heat maps of what one of your runs learned")
    return store().get(asked) if asked else None


def best_runs(backbone: str, task: str | None = None) -> dict[str, Summary]:
    """The best finished run of each method on a backbone by validation, on one task or on any."""
    best: dict[str, Summary] = {}
    for run in store().list():
        done = run.status.state == "finished" and run.status.accuracy is not None
        if not done or run.config.backbone != backbone or (task and run.config.task != task):
            continue
        known = best.get(run.config.method)
        if known is None or (run.status.accuracy or 0) > (known.status.accuracy or 0):
            best[run.config.method] = run
    return best


def symbols(name: str, shape: Shape, panel: Panel) -> list[dict[str, str]]:
    """Every part of the method with its axes, its shape in numbers, and what becomes of it."""
    built = build(name, spec_of(shape))
    drawn = {item.label: item.state for item in panel.items.values() if item.kind == "tensor"}
    words = {"trained": "trained", "frozen": "held fixed", "processed": "computed", "input": "input"}
    rows = []
    for symbol, part in built.parts().items():
        own = any(part.tensor is parameter for parameter in built.parameters())
        state = words[drawn.get(spoken(symbol), "trained" if own else "processed")]
        sizes = TIMES.join(map(str, part.tensor.shape))
        count = f"{part.tensor.numel():,}"
        rows.append(
            {
                "part": symbol,
                "symbol": spoken(symbol),
                "axes": ", ".join(part.axes),
                "shape": sizes,
                "numbers": count,
                "is": state,
            }
        )
    return rows


def traits(name: str, shape: Shape) -> tuple[list[str], list[str]]:
    """Advantages and limits that follow from shapes and stages alone: our analysis, nothing measured."""
    panel, built = panel_of(name, shape), build(name, spec_of(shape))
    plain = built.slots * shape.width
    kinds = {item.kind for item in panel.items.values()}
    looks = any(edge.how == "reads" for edge in panel.edges)
    good, limits = [], []
    if panel.slots == 0:
        good.append("It takes no place in the input: texts can be as long as without it.")
        limits.append("It needs to reach into every attention site, not only the input.")
    else:
        limits.append(f"It takes {panel.slots} places of the input, and every one of them costs time at each use.")
    if plain and panel.trained < plain:
        good.append(
            f"It trains fewer numbers than a plain prompt of as many tokens ({panel.trained:,} against {plain:,})."
        )
    elif plain and panel.trained > plain:
        limits.append(
            f"It trains more numbers than a plain prompt of as many tokens ({panel.trained:,} against {plain:,})."
        )
    if panel.stored < panel.trained:
        good.append(
            f"What it needs for training is dropped afterwards: {panel.stored:,} of {panel.trained:,} are kept."
        )
    if looks:
        good.append("Its prompt suits each input: a router looks at the text first.")
        limits.append("The prompt differs from input to input, so its keys and values cannot be computed once for all.")
    elif "encoder" in kinds:
        good.append("Prompt tokens share an encoder, so that what one learns moves the others.")
    if REGISTRY[name].transfers:
        good.append("It starts from what other tasks taught it.")
        limits.append("It needs source tasks with labelled rows, and time to train on them first.")
    if any(stage.optimiser == "evolution" for stage in built.stages()):
        good.append("It needs no gradients: the backbone may be one that only answers.")
    if len(built.stages()) > 1:
        limits.append(f"It trains in {len(built.stages())} stages, each with settings of its own.")
    return good, limits
