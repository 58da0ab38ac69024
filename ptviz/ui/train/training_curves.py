"""The training charts of the pages Watch and All runs, and their numbers as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ptviz.analysis.csv_text import table_to_csv
from ptviz.plots import plot_run_comparison, plot_training
from ptviz.runs import Run, RunHistory
from ptviz.tasks.metrics import ACCURACY, Metric
from ptviz.ui.components.figure_panel import render_plot

TRAINING_CAPTION = (
    "How to read it: above, the {metric} on validation texts, measured every few steps; a prompt is useful once its "
    "line is above the grey lines. Below, the loss on each training batch, faint, and smoothed: it should fall. "
    "Drag to zoom, double-click to zoom out."
)
COMPARISON_CAPTION = (
    "How to read it: one line per run. Above, the score on validation texts: higher is better, and further left is "
    "faster. Below, the smoothed training loss. The colour shows the method; runs of the same method differ in their "
    "dashes. Click a name to hide its lines."
)


def render_training_curve(run: Run, smoothing: float, until: int | None = None) -> None:
    """Show the chart of one run, up to the step ``until`` of the whole run; its zoom is stored in the address."""
    render_plot(
        plot_training,
        run,
        smoothing=smoothing,
        step=until,
        key=f"curves-{run.id}",
        caption=TRAINING_CAPTION.format(metric=run.metric.noun),
        filename=f"{run.id}-curves",
        zoom_param="zoom",
    )


def render_run_comparison(runs: Sequence[Run]) -> None:
    """Show the validation scores of several runs, in one chart for each metric."""
    by_metric: dict[str, list[Run]] = {}
    for run in runs:
        by_metric.setdefault(run.metric.name, []).append(run)
    several = len(by_metric) > 1
    for name, own in (by_metric or {"": []}).items():
        render_plot(
            plot_run_comparison,
            own,
            key=f"comparison-{name}" if several else "comparison",
            caption=COMPARISON_CAPTION,
            filename=f"comparison-{name}" if several else "comparison",
            title=own[0].metric.title if several else "",
            zoom_param=None if several else "zoom",
        )


def history_to_csv(runs: Mapping[str, RunHistory], metrics: Iterable[Metric] = ()) -> str:
    """Return every step and evaluation of some runs by id: one row per step, empty where nothing was measured.

    ``metrics`` are those of the runs; the column of validation scores is named after the metric if there is one.
    """
    names = {metric.name.replace("-", "_") for metric in metrics} or {ACCURACY.name}
    metric = names.pop() if len(names) == 1 else "score"
    columns = (
        "run", "position", "stage", "step", "training_loss_nats", "learning_rate", "gradient_norm", "seconds",
        "validation_loss_nats", f"validation_{metric}",
    )  # fmt: skip
    return table_to_csv([columns, *([run, *row] for run, curve in runs.items() for row in _history_rows(curve))])


def _history_rows(curve: RunHistory) -> Iterator[list[object]]:
    measured = {(e.stage, e.step): (e.loss, e.accuracy) for e in curve.evaluations}
    columns = (
        curve.global_steps,
        curve.stages,
        curve.steps,
        curve.losses,
        curve.learning_rates,
        curve.gradient_norms,
        curve.seconds,
    )
    for position, stage, step, *numbers in zip(*(c.tolist() for c in columns), strict=True):
        yield [position, stage, step, *numbers, *measured.pop((stage, step), ("", ""))]
    # The last evaluation comes after the last step's loss.
    positions = {
        (e.stage, e.step): position for e, position in zip(curve.evaluations, curve.evaluation_steps, strict=True)
    }
    for stage_step, values in sorted(measured.items()):
        yield [positions[stage_step], *stage_step, "", "", "", "", *values]
