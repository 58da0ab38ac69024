"""Live methods on a chosen backbone's shape, ready to draw; and the same with the tensors of one of your runs."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from ptviz import backbones
from ptviz.analysis.method_diagram import DiagramPanel, symbol_to_text
from ptviz.analysis.parameter_cost import CostCurve
from ptviz.methods import REGISTRY, build_method
from ptviz.plots import material
from ptviz.plots.material import make_spec
from ptviz.runs import Run, RunSummary
from ptviz.ui.backend import get_store
from ptviz.ui.components.formatting import format_percent
from ptviz.ui.components.forms import select_one

PRODUCT_SIGN = " × "  # noqa: RUF001  # the sign of a product
BackboneShape = backbones.BackboneInfo


def select_backbone_shape(key: str = "shape") -> BackboneShape:
    """The backbone whose sizes the figures show."""
    known = {info.name: info for info in backbones.list_backbones()}
    name = select_one(
        "Backbone", {name: info.title for name, info in known.items()}, key=key, help="shapes and counts are for it"
    )
    return known[name]


def get_method_panel(name: str, shape: BackboneShape, knobs: Mapping[str, object] | None = None) -> DiagramPanel:
    """One method's panel; cached, because sizes do not change."""
    return _cached_panel(name, shape, tuple(sorted((knobs or {}).items())))


@st.cache_data(max_entries=400, show_spinner=False)
def _cached_panel(name: str, shape: BackboneShape, knobs: tuple[tuple[str, object], ...]) -> DiagramPanel:
    return material.build_method_panel(name, shape, dict(knobs))


@st.cache_data(max_entries=20, show_spinner=False)
def get_all_panels(shape: BackboneShape) -> list[DiagramPanel]:
    """The backbone alone, then every method of the registry, in the survey's order."""
    return material.build_all_panels(shape)


@st.cache_data(max_entries=200, show_spinner=False)
def get_cost_curves(name: str, shape: BackboneShape) -> list[CostCurve]:
    """How the counts grow with each of the method's whole-number knobs that they depend on."""
    return material.compute_cost_curves(name, shape)


def runs_of_method(name: str) -> list[RunSummary]:
    """Your runs of a method that have a prompt to look at."""
    return [run for run in get_store().list() if run.config.method == name and run.status.kept is not None]


def select_run(name: str) -> Run | None:
    """One of your runs of this method, whose tensors the panel shall show; None for shapes alone."""
    mine = {run.id: f"{run.name} ({format_percent(run.status.accuracy)})" for run in runs_of_method(name)}
    if not mine:
        return None
    titles = {"": "shapes alone", **mine}
    asked = select_one("Tensors of", titles, key=f"run-{name}", help="small heat maps of what one of your runs learned")
    return get_store().get(asked) if asked else None


def best_run_per_method(backbone: str, task: str | None = None) -> dict[str, RunSummary]:
    """The best finished run of each method on a backbone by validation, on one task or on any."""
    best: dict[str, RunSummary] = {}
    for run in get_store().list():
        done = run.status.state == "finished" and run.status.accuracy is not None
        if not done or run.config.backbone != backbone or (task and run.config.task != task):
            continue
        known = best.get(run.config.method)
        if known is None or (run.status.accuracy or 0) > (known.status.accuracy or 0):
            best[run.config.method] = run
    return best


def list_symbols(name: str, shape: BackboneShape, panel: DiagramPanel) -> list[dict[str, str]]:
    """Every part of the method with its axes, its shape in numbers, and what becomes of it."""
    built = build_method(name, make_spec(shape))
    drawn = {item.label: item.state for item in panel.items.values() if item.kind == "tensor"}
    words = {"trained": "trained", "frozen": "held fixed", "processed": "computed", "input": "input"}
    rows = []
    for symbol, part in built.tensors().items():
        own = any(part.tensor is parameter for parameter in built.parameters())
        state = words[drawn.get(symbol_to_text(symbol), "trained" if own else "processed")]
        sizes = PRODUCT_SIGN.join(map(str, part.tensor.shape))
        count = f"{part.tensor.numel():,}"
        rows.append(
            {
                "part": symbol,
                "symbol": symbol_to_text(symbol),
                "axes": ", ".join(part.axes),
                "shape": sizes,
                "numbers": count,
                "is": state,
            }
        )
    return rows


def list_advantages_and_limits(name: str, shape: BackboneShape) -> tuple[list[str], list[str]]:
    """Advantages and limits that follow from shapes and stages alone: our analysis, nothing measured."""
    panel, built = get_method_panel(name, shape), build_method(name, make_spec(shape))
    plain = built.slots * shape.width
    kinds = {item.kind for item in panel.items.values()}
    looks = any(edge.kind == "reads" for edge in panel.edges)
    good, limits = [], []
    if panel.slots == 0:
        good.append("It takes no place in the input: texts can be as long as without it.")
        limits.append("It needs to reach into every attention site, not only the input.")
    else:
        limits.append(f"It takes {panel.slots} places of the input, and every one of them costs time at each use.")
    if plain and panel.trainable_parameters < plain:
        good.append(
            f"It trains fewer numbers than a plain prompt of as many tokens ({panel.trainable_parameters:,} against {plain:,})."
        )
    elif plain and panel.trainable_parameters > plain:
        limits.append(
            f"It trains more numbers than a plain prompt of as many tokens ({panel.trainable_parameters:,} against {plain:,})."
        )
    if panel.stored_parameters < panel.trainable_parameters:
        good.append(
            f"What it needs for training is dropped afterwards: {panel.stored_parameters:,} of {panel.trainable_parameters:,} are kept."
        )
    if looks:
        good.append("Its prompt suits each input: a router looks at the text first.")
        limits.append("The prompt differs from input to input, so its keys and values cannot be computed once for all.")
    elif "encoder" in kinds:
        good.append("Prompt tokens share an encoder, so that what one learns moves the others.")
    if REGISTRY[name].uses_source_tasks:
        good.append("It starts from what other tasks taught it.")
        limits.append("It needs source tasks with labelled rows, and time to train on them first.")
    if any(stage.optimiser == "evolution" for stage in built.stages()):
        good.append("It needs no gradients: the backbone may be one that only answers.")
    if len(built.stages()) > 1:
        limits.append(f"It trains in {len(built.stages())} stages, each with settings of its own.")
    return good, limits
