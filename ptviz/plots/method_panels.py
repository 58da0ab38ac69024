"""Panels, stages and cost curves of live methods on the sizes of a backbone; no model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from ptviz import backbones
from ptviz.analysis.method_diagram import DiagramPanel, backbone_panel, build_panel
from ptviz.analysis.parameter_cost import CostCurve, compute_cost_curve, value_grid
from ptviz.backbones import BackboneInfo
from ptviz.figures.diagrams.stage_timeline import StageBar
from ptviz.methods import REGISTRY, PromptMethod, Stage, build_method
from ptviz.methods.hyperparameters import HyperparameterInfo, hyperparameters_of
from ptviz.prompt import Spec
from ptviz.runs import Run, RunConfig
from ptviz.training import TrainConfig

SOURCE_COUNT = 3
"""Source tasks of the methods that transfer, unless a caller names another number."""
INPUT_LENGTH = TrainConfig().length
DEFAULT_BACKBONE = RunConfig().backbone


def get_backbone_shape(name: str) -> BackboneInfo:
    """Return the sizes of a named backbone.

    Raises:
        ValueError: for any other name.
    """
    known = {info.name: info for info in backbones.list_backbones()}
    if name not in known:
        raise ValueError(f"the sizes of {name} are known only once it is loaded; expected one of {', '.join(known)}")
    return known[name]


def get_method(name: str) -> type[PromptMethod]:
    """Return a registered method.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown method {name!r}: expected one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


def make_spec(shape: BackboneInfo, length: int = INPUT_LENGTH, sources: Sequence[str] | int = SOURCE_COUNT) -> Spec:
    """Return the sizes that a method is built for; ``sources`` are the names of source tasks, or their number."""
    names = tuple(f"source {i + 1}" for i in range(sources)) if isinstance(sources, int) else tuple(sources)
    return Spec.from_sizes(shape.width, shape.sites, shape.heads, shape.head_width, length, names)


def build_method_panel(
    method: str,
    shape: BackboneInfo,
    hyperparameters: Mapping[str, object] = MappingProxyType({}),
    sources: int = SOURCE_COUNT,
) -> DiagramPanel:
    """Return the panel of a method on the sizes of a backbone.

    Raises:
        ValueError: for an unknown method or a hyperparameter that it does not take.
    """
    return _cached_method_panel(get_method(method), shape, tuple(sorted(hyperparameters.items())), sources)


# Building a method allocates its tensors: a page is drawn again at every click.
@lru_cache(maxsize=400)
def _cached_method_panel(
    method: type[PromptMethod], shape: BackboneInfo, hyperparameters: tuple[tuple[str, object], ...], sources: int
) -> DiagramPanel:
    built = build_method(method.card.name, make_spec(shape, sources=sources), dict(hyperparameters))
    return build_panel(built, INPUT_LENGTH, shape.width, shape.sites, shape.parameters)


def build_backbone_panel(shape: BackboneInfo) -> DiagramPanel:
    """Return the panel of the backbone without a prompt."""
    return backbone_panel(shape.sites, INPUT_LENGTH, shape.width, shape.parameters)


def build_all_panels(shape: BackboneInfo, sources: int = SOURCE_COUNT) -> list[DiagramPanel]:
    """Return the panel of the backbone without a prompt, then one per method in the order of the registry."""
    return [build_backbone_panel(shape), *(build_method_panel(name, shape, sources=sources) for name in REGISTRY)]


def build_run_panel(run: Run, before_training: bool = False) -> DiagramPanel:
    """Return the panel of a run's method with the values of its tensors.

    They are those of the best prompt so far, or with ``before_training`` those of the first snapshot.

    Raises:
        ValueError: if the backbone's sizes are not known, or the tensors do not fit the method.
        StoreError: if the tensors cannot be read.
    """
    snapshots = run.snapshots()
    first = before_training and snapshots
    state = run.snapshot(snapshots[0].stage, snapshots[0].step) if first else run.prompt()
    config = run.config
    shape, length = get_backbone_shape(config.backbone), config.training.length
    spec = make_spec(shape, length, config.source_tasks() or SOURCE_COUNT)
    method: PromptMethod = build_method(config.method, spec, config.hyperparameters)
    # The stored tensors take the place of the shapes, whatever the backbone's vocabulary was.
    try:
        method.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"the tensors of run {run.id} do not have the shapes of this version; train it again"
        ) from error
    method.eval()
    panel = build_panel(method, length, shape.width, shape.sites, shape.parameters, values=True)
    return replace(panel, citation=config.name or run.id)


def compute_cost_curves(method: str, shape: BackboneInfo) -> list[CostCurve]:
    """Return how the parameter counts grow with each whole-number hyperparameter that they depend on.

    Raises:
        ValueError: for an unknown method.
    """
    return list(_cached_cost_curves(get_method(method), shape))


@lru_cache(maxsize=200)
def _cached_cost_curves(method: type[PromptMethod], shape: BackboneInfo) -> tuple[CostCurve, ...]:
    curves = (_cost_curve(method.card.name, shape, name, info) for name, info in hyperparameters_of(method).items())
    return tuple(
        curve
        for curve in curves
        if curve is not None and (len({*curve.trainable_parameters}) > 1 or len({*curve.stored_parameters}) > 1)
    )


def _cost_curve(method: str, shape: BackboneInfo, name: str, info: HyperparameterInfo) -> CostCurve | None:
    declared = info.declaration
    if info.value_type is not int or declared.minimum is None or declared.maximum is None:
        return None
    spec, default = make_spec(shape), int(info.default)

    def count(value: int) -> tuple[int, int]:
        built = build_method(method, spec, {name: value})
        return built.trainable_parameters(), built.stored_parameters()

    values = value_grid(max(1, int(declared.minimum)), min(int(declared.maximum), max(100, 4 * default)), default)
    return compute_cost_curve(declared.symbol, declared.meaning.split(":")[0], values, count, default)


def build_stage_bars(method: str, shape: BackboneInfo, steps: int = TrainConfig().steps) -> list[StageBar]:
    """Return the stages of a method's training in order, for a run of ``steps`` updates on the target task.

    Raises:
        ValueError: for an unknown method.
    """
    bars = []
    if get_method(method).needs_source_prompts:
        bars.append(StageBar("source prompts", "sources", 0, "one plain prompt for each source task"))
    for stage in build_method(method, make_spec(shape)).stages():
        # Stages on the sources alone have a budget of their own, which a run decides.
        own = 0 if stage.tasks == "sources" else round(stage.step_fraction * steps)
        bars.append(StageBar(stage.name, stage.tasks, own, _describe_trained_tensors(stage), stage.optimiser))
    return bars


def _describe_trained_tensors(stage: Stage) -> str:
    if not stage.lr_scales:
        return "trains everything of the method"
    scales = {scale for scale in stage.lr_scales.values() if scale > 0}
    names = [n if len(scales) < 2 else f"{n} at {scale:g}×" for n, scale in stage.lr_scales.items() if scale > 0]  # noqa: RUF001
    return "trains " + ", ".join(names)
