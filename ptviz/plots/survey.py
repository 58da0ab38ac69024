"""The figures of the survey: the taxonomy, all panels together, and two panels side by side.

Source: Li, Su and Collier, "A Survey on Prompt Tuning", 2025, figures 1 and 2, https://arxiv.org/abs/2507.06085
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from ptviz.analysis.taxonomy import Taxonomy, build_taxonomy
from ptviz.figures.diagrams.framework_comparison import draw_framework, draw_pair
from ptviz.figures.diagrams.method import draw_panel
from ptviz.figures.diagrams.taxonomy import draw_taxonomy
from ptviz.methods import list_methods
from ptviz.plots.drawing import Drawing
from ptviz.plots.method_panels import (
    DEFAULT_BACKBONE,
    SOURCE_COUNT,
    build_all_panels,
    build_backbone_panel,
    build_method_panel,
    get_backbone_shape,
)
from ptviz.runs import RunSummary
from ptviz.runs.default_store import default_store
from ptviz.runs.recorded_runs import recorded_runs
from ptviz.tasks.metrics import ACCURACY

TaxonomyColour: TypeAlias = Literal["family", "parameters", "accuracy", "time"]
_FRAMEWORK_COLUMNS = 4


def plot_taxonomy(
    *,
    colour_by: TaxonomyColour = "family",
    backbone: str = DEFAULT_BACKBONE,
    task: str = "",
    recorded: bool = False,
    narrow: bool = False,
) -> Drawing:
    """Draw the taxonomy of all methods as a tree: family, group, where the prompt enters, method.

    ``colour_by`` is "family"; "parameters" (trainable on ``backbone``); or "accuracy" (best validation score) or
    "time" (seconds of training) of the best finished run per method in ``Store()`` on ``backbone``, on ``task`` or on
    any task; of the runs that came with ptviz instead of your own if ``recorded``. ``narrow`` draws it as a list, for
    a phone. After figure 1 of the survey.

    Raises:
        ValueError: for another ``colour_by``, or a backbone whose sizes are not known.
    """
    return Drawing(draw_taxonomy(build_coloured_taxonomy(colour_by, backbone, task, recorded), narrow))


def build_coloured_taxonomy(colour_by: str, backbone: str, task: str, recorded: bool = False) -> Taxonomy:
    """Return the tree that ``plot_taxonomy`` draws."""
    cards = [method.card for method in list_methods().values()]
    if colour_by == "family":
        return build_taxonomy(cards)
    if colour_by == "parameters":
        shape = get_backbone_shape(backbone)
        counts = {name: build_method_panel(name, shape).trainable_parameters for name in list_methods()}
        return build_taxonomy(cards, counts, "trainable parameters on the target task", log=True)
    best = best_run_per_method(recorded_runs() if recorded else default_store().list(), backbone, task)
    if colour_by == "accuracy":
        scores = {name: run.status.accuracy or 0.0 for name, run in best.items()}
        metrics = {run.metric.name: run.metric for run in best.values()} or {ACCURACY.name: ACCURACY}
        noun = next(iter(metrics.values())).noun if len(metrics) == 1 else "score"
        unit = "%" if all(metric.unit for metric in metrics.values()) else ""
        return build_taxonomy(cards, scores, f"best validation {noun}", unit)
    if colour_by == "time":
        seconds = {name: run.status.seconds for name, run in best.items()}
        return build_taxonomy(cards, seconds, "training time of the best run", "s", log=True)
    raise ValueError(f"colour_by: expected family, parameters, accuracy or time; got {colour_by!r}")


def best_run_per_method(runs: Iterable[RunSummary], backbone: str, task: str = "") -> dict[str, RunSummary]:
    """Return the finished run of each method with the best validation score on a backbone and a task ("": any).

    Runs on several tasks at once are left out: their score is a mean.
    """
    best: dict[str, RunSummary] = {}
    for run in runs:
        done = run.status.state == "finished" and run.status.accuracy is not None
        if not done or run.config.more_tasks or run.config.backbone != backbone or (task and run.config.task != task):
            continue
        known = best.get(run.config.method)
        if known is None or (run.status.accuracy or 0) > (known.status.accuracy or 0):
            best[run.config.method] = run
    return best


def plot_framework(
    *, backbone: str = DEFAULT_BACKBONE, source_tasks: int = SOURCE_COUNT, columns: int = _FRAMEWORK_COLUMNS
) -> Drawing:
    """Draw the panels of all methods under one legend, ``columns`` panels in a row. After figure 2 of the survey.

    Raises:
        ValueError: if the sizes of the backbone are not known.
    """
    return Drawing(draw_framework(build_all_panels(get_backbone_shape(backbone), source_tasks), columns))


def plot_method_pair(first: str, second: str, *, backbone: str = DEFAULT_BACKBONE) -> Drawing:
    """Draw the panels of two methods side by side, with what only one of them has ringed.

    Raises:
        ValueError: for an unknown method, or a backbone whose sizes are not known.
    """
    shape = get_backbone_shape(backbone)
    return Drawing(draw_pair(build_method_panel(first, shape), build_method_panel(second, shape)))


def plot_backbone(backbone: str = DEFAULT_BACKBONE) -> Drawing:
    """Draw the panel of the frozen backbone without a prompt, the first of ``plot_framework``.

    Raises:
        ValueError: if the sizes of the backbone are not known.
    """
    return Drawing(draw_panel(build_backbone_panel(get_backbone_shape(backbone))))
