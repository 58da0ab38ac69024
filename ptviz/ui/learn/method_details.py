"""Symbols, advantages and limits of a method on a backbone, and the selection of a backbone and a run."""

from __future__ import annotations

from ptviz import backbones
from ptviz.analysis.method_diagram import DiagramPanel, symbol_to_text
from ptviz.backbones import BackboneInfo
from ptviz.methods import build_method, list_methods
from ptviz.plots.method_panels import build_method_panel, make_spec
from ptviz.runs import Run, RunSummary
from ptviz.ui.backend import get_store
from ptviz.ui.components.formatting import format_score
from ptviz.ui.components.forms import select_one
from ptviz.ui.recorded_runs import list_targets, run_title

PRODUCT_SIGN = " × "  # noqa: RUF001  # the sign of a product
_STATE_WORDS = {"trained": "trained", "frozen": "frozen", "processed": "computed", "input": "input"}


def select_backbone_shape(key: str = "shape") -> BackboneInfo:
    """Return the backbone whose sizes the figures show."""
    known = {info.name: info for info in backbones.list_backbones()}
    name = select_one(
        "Backbone",
        {name: info.title for name, info in known.items()},
        key=key,
        help="whose shapes and parameter counts are shown",
    )
    return known[name]


def runs_of_method(name: str) -> list[RunSummary]:
    """Return the runs of a method that have saved a prompt, your own first."""
    return [run for run in list_targets() if run.config.method == name and run.status.best_step is not None]


def select_run(name: str) -> Run | None:
    """Return a run of this method, whose tensors the panel shall show; None for shapes only."""
    mine = {
        run.id: f"{run_title(run) if run.recorded else run.name} ({format_score(run.metric, run.status.accuracy)})"
        for run in runs_of_method(name)
    }
    if not mine:
        return None
    titles = {"": "shapes only", **mine}
    chosen = select_one("Tensors of", titles, key=f"run-{name}", help="small heat maps of the tensors of the run")
    return get_store().get(chosen) if chosen else None


def list_symbols(name: str, shape: BackboneInfo, panel: DiagramPanel) -> list[dict[str, str]]:
    """Return one row per tensor of the method: its axes, its shape, its number of elements, and how it comes about."""
    built = build_method(name, make_spec(shape))
    drawn = {item.label: item.state for item in panel.items.values() if item.kind == "tensor"}
    rows = []
    for symbol, part in built.tensors().items():
        own = any(part.tensor is parameter for parameter in built.parameters())
        state = _STATE_WORDS[drawn.get(symbol_to_text(symbol), "trained" if own else "processed")]
        sizes = PRODUCT_SIGN.join(map(str, part.tensor.shape))
        count = f"{part.tensor.numel():,}"
        rows.append(
            {
                "part": symbol,
                "symbol": symbol_to_text(symbol),
                "axes": ", ".join(part.axes),
                "shape": sizes,
                "elements": count,
                "is": state,
            }
        )
    return rows


def list_advantages_and_limits(name: str, shape: BackboneInfo) -> tuple[list[str], list[str]]:
    """Return the advantages and the limits that follow from shapes and stages. Nothing is measured."""
    panel, built = build_method_panel(name, shape), build_method(name, make_spec(shape))
    plain = built.slots * shape.width
    kinds = {item.kind for item in panel.items.values()}
    reads_input = any(edge.kind == "reads" for edge in panel.edges)
    good, limits = [], []
    if panel.slots == 0:
        good.append("It adds no position to the input: texts can be as long as without it.")
        limits.append("It needs access to every attention site, not only to the input.")
    else:
        limits.append(
            f"It adds {panel.slots} positions to the input, and each of them costs time in every forward pass."
        )
    counts = f"({panel.trainable_parameters:,} against {plain:,})"
    if plain and panel.trainable_parameters < plain:
        good.append(f"It has fewer trainable parameters than a plain prompt of the same length {counts}.")
    elif plain and panel.trainable_parameters > plain:
        limits.append(f"It has more trainable parameters than a plain prompt of the same length {counts}.")
    if panel.stored_parameters < panel.trainable_parameters:
        good.append(
            f"Parts used only for training are dropped afterwards: {panel.stored_parameters:,} of "
            f"{panel.trainable_parameters:,} parameters are stored."
        )
    if reads_input:
        good.append("Its prompt depends on the input: a router reads the text first.")
        limits.append("The prompt differs between inputs, so its keys and values cannot be precomputed.")
    elif "encoder" in kinds:
        good.append("Prompt tokens share an encoder, so an update for one token also moves the others.")
    if list_methods()[name].uses_source_tasks:
        learns = "starts from prompts learned on" if built.needs_source_prompts else "also learns from the examples of"
        good.append(f"It {learns} other tasks.")
        limits.append("It needs source tasks with labelled examples, and time to train on them first.")
    if any(stage.optimiser == "evolution" for stage in built.stages()):
        good.append("It needs no gradients: forward passes of the backbone are enough.")
    if len(built.stages()) > 1:
        limits.append(f"It trains in {len(built.stages())} stages.")
    return good, limits
