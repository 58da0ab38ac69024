"""The report of one run: results, curves, errors, settings, commands, versions and citations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go

from ptviz.analysis.statistics import wilson_interval
from ptviz.plots import (
    error_summary,
    plot_calibration,
    plot_class_scores,
    plot_confusion,
    plot_score_by_length,
    plot_training,
)
from ptviz.plots.method_style import method_title
from ptviz.plots.prediction_errors import describe_changes, load_class_scores
from ptviz.plots.predictions import has_zero_shot, read_predictions, select_predictions
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.plots.snippet import call_snippet, training_snippet
from ptviz.reports.bibliography import CALIBRATION, MCNEMAR, cite
from ptviz.reports.document import Code, Figure, Report, Section, Table
from ptviz.runs import Run, StoreError
from ptviz.runs.run_filters import config_settings

_MOST_TEXTS = 10
"""Examples that the prompt fixed, and broke, which are listed."""
_NO_VERSIONS = ("notes", "metric", "metrics", "tables", "lr", "trained", "stored", "slots", "memory", "seed")
"""Fields of a run's environment that stand elsewhere in the report, or are no version."""


def run_report(run: RunOrId) -> Report:
    """Return the report of a run; of a run on several tasks ``RUN@TASK`` adds the errors on one.

    Raises:
        StoreError: if the run does not exist, cannot be read, or has made no step.
    """
    run = get_run(run)
    if not len(run.history()):
        raise StoreError(f"run {run.id} has made no step yet: there is nothing to report")
    config = run.config
    subtitle = (
        f"{method_title(config.method)} on {config.backbone}, task {config.task_names}, seed {config.training.seed}; "
        f"run {run.id}"
    )
    sections = [_results(run), *_errors(run), _settings(run), repeat_section([run], f"ptviz report {run.id}")]
    sections.append(Section("Citations", parts=[Code("BibTeX", cite([config.method], [CALIBRATION, MCNEMAR]))]))
    return Report(config.name or run.id, subtitle, sections)


def figure_part(title: str, plot: Callable[..., go.Figure], *args: Any, caption: str = "", **options: Any) -> Figure:
    """Return a figure of ``ptviz.plots`` as part of a report, with the call that draws it."""
    return Figure(title, plot(*args, **options), caption, call_snippet(plot, *args, **options))


def _results(run: Run) -> Section:
    status, metric, environment = run.status(), run.metric, run.environment()
    scores = {
        f"test {metric.noun}": status.test,
        f"validation {metric.noun}, best prompt": status.accuracy,
        f"validation {metric.noun}, zero-shot": status.zero_shot,
        f"validation {metric.noun}, {metric.constant_answer}": status.majority,
    }
    rows = [(name, None if score is None else metric.format(score)) for name, score in scores.items()]
    rows += [
        ("best step", _count(status.best_step)),
        ("trainable parameters", _count(environment.get("trained"))),
        ("parameters needed for inference", _count(environment.get("stored"))),
        ("training time (s)", f"{status.seconds:.1f}"),
        ("state", status.state + (f": {status.reason}" if status.reason else "")),
    ]
    sentences = [f"{metric.title}: {metric.definition}"]
    notes = run.annotations()
    if notes.notes:
        sentences.append(notes.notes)
    return Section(
        "Results",
        sentences,
        [
            Table("Scores", ("what", "value"), rows),
            figure_part("Training", plot_training, run, caption="Grey lines are the scores without a prompt."),
        ],
    )


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _errors(run: Run) -> list[Section]:
    """Return the section of the errors on the test set; none for a run without predictions."""
    if run.config.more_tasks or not (rows := read_predictions(run)):
        return []
    found = error_summary(run)
    count, right = found["examples"], found["right"]
    interval = wilson_interval(right, count)
    counted = "test outputs equal a reference" if "score" in rows[0] else "test examples are right"
    sentences = [
        f"{right:,} of {count:,} {counted} ({right / count:.1%}, 95% interval over examples "
        f"{interval.low:.1%} to {interval.high:.1%}, Wilson)."
    ]
    if found["score_changes"]:
        sentences.append(describe_changes(rows))
    if changes := found["changes"]:
        sentences.append(
            f"Against zero-shot the prompt fixed {changes['fixed']:,} and broke {changes['broken']:,} examples "
            f"(McNemar's exact test, two-sided: p = {changes['p']:.2g})."
        )
    parts: list[Table | Figure | Code] = []
    if found["classes"]:
        parts += [figure_part("Confusion matrix", plot_confusion, run), _class_table(run)]
        parts.append(figure_part("Recall by class", plot_class_scores, run))
    if found["calibration"]:
        caption = "The expected calibration error is that of Guo et al. (2017); bars are 95% intervals (Wilson)."
        parts.append(figure_part("Calibration", plot_calibration, run, caption=caption))
    caption = "Groups of about equal size; bars are 95% intervals over examples."
    parts.append(figure_part("Score by length", plot_score_by_length, run, caption=caption))
    return [Section("Errors on the test set", sentences, [*parts, *_changed_tables(run)])]


def _class_table(run: Run) -> Table:
    columns = ("class", "examples", "precision", "recall", "F1", "zero-shot recall")
    rows = [
        (one.name, one.support, *map(_cell, (one.precision, one.recall, one.f1, one.zero_shot_recall)))
        for one in load_class_scores(run)
    ]
    return Table("Scores by class", columns, rows)


def _changed_tables(run: Run) -> list[Table]:
    rows = read_predictions(run)
    if not has_zero_shot(rows):
        return []
    tables = []
    titles = ("Higher score than zero-shot", "Lower score than zero-shot") if "score" in rows[0] else (
        "Fixed by the prompt", "Broken by the prompt")  # fmt: skip
    for change, title in zip(("fixed", "broken"), titles, strict=True):
        found = select_predictions(rows, change=change, order="highest first")  # type: ignore[arg-type]
        names = [name for name in rows[0] if name not in ("right", "zero_shot_right", "change")]
        cells = [[_cell(row[name]) for name in names] for row in found[:_MOST_TEXTS]]
        note = f"The {len(cells)} most confident of {len(found)}." if "confidence" in rows[0] else (
            f"The {len(cells)} with the highest score of {len(found)}.")  # fmt: skip
        tables.append(Table(title, [name.replace("_", " ") for name in names], cells, note))
    return tables


def _cell(value: object) -> object:
    return f"{value:.1%}" if isinstance(value, float) else value


def _settings(run: Run) -> Section:
    rows = [(name, _plain(value)) for name, value in config_settings(run.config).items() if value not in (None, "")]
    recorded = run.environment().get("lr")
    note = f"The learning rate that was used is {recorded:g}." if recorded is not None else ""
    sentences = [f"Note on the data: {text}" for text in run.task_notes()]
    return Section("Settings", sentences, [Table("All settings", ("setting", "value"), rows, note)])


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def repeat_section(runs: list[Run], report: str) -> Section:
    """Return the commands that repeat some runs and the report, and the versions they were made with."""
    commands = "\n".join([*(run.config.shell_command() for run in runs), report])
    parts: list[Table | Figure | Code] = [Code("In the shell", commands)]
    if len(runs) == 1:
        parts.append(Code("In Python", training_snippet(runs[0].config)))
    versions: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        known = {name: str(value) for name, value in run.environment().items() if name not in (*_NO_VERSIONS, "began")}
        versions.setdefault(tuple(known.items()), []).append(run.id)
    for rows, ids in versions.items():
        title = "Versions and machine" if len(versions) == 1 else f"Versions and machine of {', '.join(ids)}"
        parts.append(Table(title, ("what", "value"), rows))
    return Section("How to repeat it", parts=parts)
