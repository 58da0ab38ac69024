"""One method: its panel, its stages, and what its hyperparameters cost."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.figures.diagrams.method import draw_panel
from ptviz.figures.diagrams.stage_timeline import draw_stage_timeline
from ptviz.figures.parameter_cost import draw_parameter_cost
from ptviz.methods import list_methods
from ptviz.plots.alt_text import with_alt
from ptviz.plots.drawing import Drawing
from ptviz.plots.method_panels import (
    DEFAULT_BACKBONE,
    SOURCE_COUNT,
    build_method_panel,
    build_run_panel,
    build_stage_bars,
    compute_cost_curves,
    get_backbone_shape,
)
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.training import TrainConfig


def plot_method(
    method: RunOrId,
    *,
    backbone: str = DEFAULT_BACKBONE,
    source_tasks: int = SOURCE_COUNT,
    before_training: bool = False,
) -> Drawing:
    """Draw the panel of a method: its tensors, how they combine, and where the prompt enters the backbone.

    ``method`` is the name of a method, drawn on the sizes of ``backbone`` with ``source_tasks`` source tasks; or a run
    (or its id), drawn with heat maps of its own tensors: those of the best prompt, or with ``before_training`` those of
    the first snapshot. After figure 2 of Li, Su and Collier, "A Survey on Prompt Tuning", 2025.

    Raises:
        ValueError: if the sizes of the backbone are not known, or the tensors do not fit the method.
    """
    if isinstance(method, str) and method in list_methods():
        return Drawing(draw_panel(build_method_panel(method, get_backbone_shape(backbone), sources=source_tasks)))
    return Drawing(draw_panel(build_run_panel(get_run(method), before_training)))


def plot_stages(method: str, *, backbone: str = DEFAULT_BACKBONE, steps: int = TrainConfig().steps) -> Drawing:
    """Draw the training stages of a method as a timeline, for a run of ``steps`` updates on the target task.

    Raises:
        ValueError: for an unknown method, or a backbone whose sizes are not known.
    """
    return Drawing(draw_stage_timeline(build_stage_bars(method, get_backbone_shape(backbone), steps)))


def plot_parameter_cost(method: str, hyperparameter: str, *, backbone: str = DEFAULT_BACKBONE) -> go.Figure:
    """Draw the trainable and the stored parameters of a method over the values of one of its hyperparameters.

    ``hyperparameter`` is given by its symbol, as the axis shows it. The counts are those of live modules.

    Raises:
        ValueError: for an unknown method or backbone, or if the counts do not depend on the hyperparameter.
    """
    curves = {curve.hyperparameter: curve for curve in compute_cost_curves(method, get_backbone_shape(backbone))}
    if hyperparameter not in curves:
        raise ValueError(
            f"the parameter counts of {method} do not depend on {hyperparameter!r}; "
            f"expected one of {', '.join(curves) or 'none'}"
        )
    curve = curves[hyperparameter]
    counts = list(zip(curve.values, curve.trainable_parameters, strict=True))
    ends = ", ".join(f"{count:,} at {value}" for value, count in dict.fromkeys((counts[0], counts[-1])))
    return with_alt(draw_parameter_cost(curve), f"Trainable parameters over {curve.meaning}: {ends}.")
