"""Prompts across tasks: transfer without training, training from a prompt, and the correlation with similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.comparison import RunResult, compute_seed_bands
from ptviz.analysis.prompt_similarity import (
    SIMILARITY_METRICS,
)
from ptviz.analysis.published_transfer import load_published_tables
from ptviz.analysis.transfer_correlation import TransferCorrelation, correlate_transfer, mean_error_reduction
from ptviz.experiments import transfer_gain, transfer_prompts, zero_shot_transfer
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.experiments.transfer_results import TargetTask, TransferRun, from_scratch_key, metrics_of_tasks
from ptviz.figures import transfer as figures
from ptviz.figures.comparison import MethodStyle, draw_seed_bands
from ptviz.figures.style import GREY, SERIES_COLOURS, SeriesStyle, series_style
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.prompt_set import Prompts, PromptSet, load_prompt_set, short_task_name, target_titles
from ptviz.plots.prompt_similarity import load_similarity
from ptviz.tasks.metrics import recorded_metric, shared_metric

NO_PROMPT = "no prompt"
TRANSFER_GAIN, ZERO_SHOT_GAIN, ZERO_SHOT_ACCURACY = "gain of the initialisation", "gain over no prompt", "accuracy"
TRANSFER_MEASURES = (TRANSFER_GAIN, ZERO_SHOT_GAIN, ZERO_SHOT_ACCURACY)
"""What similarity is correlated with."""
_PROMPT_COLOURS = tuple(colour for colour in SERIES_COLOURS if colour != GREY)
"""Colours of the prompts that training starts from: grey is from scratch."""


def plot_transfer(prompts: Prompts, *, names: Sequence[str] = ()) -> go.Figure:
    """Draw the score of every prompt on every task of these prompts without further training, as a heat map.

    Rows are tasks; columns are the backbone without a prompt, then the prompts. Brackets mark a prompt's own task.
    Scores are by the metric of each task; only those that were measured (`ptviz transfer`) are filled.
    """
    found = load_prompt_set(prompts, names).with_backbone()
    tasks = transfer_prompts.target_tasks(found.sources)
    columns, rows = [NO_PROMPT, *found.names], target_titles(tasks)
    trained_on = [transfer_prompts.own_task_key(one, tasks) for one in found.sources]
    own = [[False, *(key == task.key for key in trained_on)] for task in tasks]
    scores = zero_shot_transfer.measured_scores(found.store, found.sources, tasks)
    accuracies, metrics = (
        zero_shot_transfer.accuracy_matrix(found.sources, tasks, scores),
        metrics_of_tasks(scores.values(), tasks),
    )
    figure = figures.draw_transfer_grid(accuracies, rows, columns, own, metrics)
    return with_alt(figure, figures.describe_transfer_grid(accuracies, rows, columns, metrics))


def plot_transfer_gain(
    prompts: Prompts, *, steps: int = transfer_gain.DEFAULT_STEPS, seeds: int = 1, names: Sequence[str] = ()
) -> go.Figure:
    """Draw the relative error reduction of training from a prompt over training from scratch, as a heat map.

    Rows are target tasks, columns the prompts that training starts from; ``steps`` updates, mean over ``seeds``. Only
    what was trained (`ptviz transfer --gain`) is filled.
    """
    found = load_prompt_set(prompts, names).with_backbone()
    tasks = transfer_prompts.target_tasks(found.sources)
    reductions = error_reductions(found, tasks, TransferGainSettings(steps, seeds))
    rows = target_titles(tasks)
    figure = figures.draw_transfer_gains(reductions, rows, found.names)
    return with_alt(figure, figures.describe_transfer_gains(reductions, rows, found.names))


def plot_transfer_curves(
    prompts: Prompts,
    task: str,
    *,
    steps: int = transfer_gain.DEFAULT_STEPS,
    seeds: int = 1,
    names: Sequence[str] = (),
) -> go.Figure:
    """Draw the validation score while a task is trained, from scratch (grey) and from the prompts of other tasks.

    ``task`` is its name, with the columns where two tasks are made of one file. Other options as in
    ``plot_transfer_gain``.

    Raises:
        ValueError: if two tasks have this name.
    """
    found = load_prompt_set(prompts, names).with_backbone()
    setting = TransferGainSettings(steps, seeds)
    tasks = transfer_prompts.target_tasks(found.sources)
    trained = transfer_gain.measured_runs(found.store, found.sources, tasks, setting)
    key, title = _find_task(tasks, task)
    own = [one for one in trained.values() if one.task == key]
    titles, styles = _name_starts(found, own)
    own.sort(key=lambda one: [*titles].index(one.start))
    bands = compute_seed_bands(
        RunResult(titles[one.start], one.seed, evaluated=one.evaluated, accuracies=one.accuracies) for one in own
    )
    metric = shared_metric(recorded_metric(one.metric) for one in own)
    ends = ", ".join(f"{band.method} {metric.format_short(band.mean[-1])}" for band in bands if band.mean)
    alt = f"Validation {metric.noun} on {title} over steps. "
    alt += f"At the end: {ends or 'nothing was trained yet'}."
    return with_alt(draw_seed_bands(bands, styles, metric=metric), alt)


def _find_task(tasks: Sequence[TargetTask], name: str) -> tuple[str, str]:
    """Return the key and the title of a task by its key, or by its name if no other task has it."""
    titles = {one.key: title for one, title in zip(tasks, target_titles(tasks), strict=True)}
    same = [one.key for one in tasks if name in (one.key, one.name)]
    if name not in titles and len(same) > 1:
        raise ValueError(f"task: expected one of {', '.join(map(repr, same))}; got {name!r}")
    key = name if name in titles or not same else same[0]
    return key, titles.get(key, short_task_name(key))


def _name_starts(found: PromptSet, own: Sequence[TransferRun]) -> tuple[dict[str, str], dict[str, MethodStyle]]:
    """Return titles by id of the starts that were trained, from scratch first, and styles by title."""
    lengths = sorted({len(array) for array in found.vectors.values()})
    backbone = found.sources[0].config.backbone if found.sources else ""
    fresh = {
        from_scratch_key(backbone, m): f"from scratch (m = {m})" if len(lengths) > 1 else "from scratch"
        for m in lengths
    }
    # By the index among all prompts: a prompt keeps its style from task to task.
    marks = {one.id: series_style(index, _PROMPT_COLOURS) for index, one in enumerate(found.sources)}
    starts = {one.id: f"from {name}" for one, name in zip(found.sources, found.names, strict=True)}
    titles = {id: title for id, title in {**fresh, **starts}.items() if any(one.start == id for one in own)}
    return titles, {title: MethodStyle(title, marks.get(id, SeriesStyle())) for id, title in titles.items()}


def plot_similarity_vs_transfer(
    prompts: Prompts,
    *,
    metric: str = SIMILARITY_METRICS[0],
    against: str = TRANSFER_GAIN,
    centred: bool = False,
    exclude_outliers: bool = False,
    steps: int = transfer_gain.DEFAULT_STEPS,
    seeds: int = 1,
    names: Sequence[str] = (),
    checkpoint: str = "",
) -> go.Figure:
    """Draw the similarity of a prompt to the target's prompt against its measured transfer, one point per pair.

    ``against`` is one of ``TRANSFER_MEASURES``; the other options are those of ``plot_prompt_similarity`` and
    ``plot_transfer_gain``.

    Raises:
        ValueError: for an unknown metric or measure of transfer.
    """
    found = load_prompt_set(prompts, names, checkpoint)
    setting = TransferGainSettings(steps, seeds)
    correlation = correlations(found, (metric,), against, centred, exclude_outliers, setting)[metric]
    comparable = comparable_sources(found)
    targets = transfer_prompts.target_tasks(found.with_backbone().sources)
    tasks, title, form = target_titles(targets), against, ".0%"
    if against != TRANSFER_GAIN:
        measured = zero_shot_transfer.measured_scores(found.store, comparable.sources, targets)
        metrics = metrics_of_tasks(measured.values(), targets)
        title = figures.shared_noun(metrics) if against == ZERO_SHOT_ACCURACY else against
        form = figures.shared_tick_format(metrics)
    figure = figures.draw_transfer_correlation(correlation, tasks, comparable.names, metric, title, form)
    return with_alt(figure, figures.describe_transfer_correlation(correlation, metric))


def plot_transfer_correlations(
    prompts: Prompts,
    *,
    metrics: Sequence[str] = SIMILARITY_METRICS,
    against: str = TRANSFER_GAIN,
    centred: bool = False,
    exclude_outliers: bool = False,
    steps: int = transfer_gain.DEFAULT_STEPS,
    seeds: int = 1,
    names: Sequence[str] = (),
    checkpoint: str = "",
) -> go.Figure:
    """Draw Pearson's and Spearman's correlation of similarity with measured transfer under several measures.

    Bars are 95% intervals of a bootstrap over source prompts. Options as in ``plot_similarity_vs_transfer``.

    Raises:
        ValueError: for an unknown metric or measure of transfer.
    """
    found = load_prompt_set(prompts, names, checkpoint)
    setting = TransferGainSettings(steps, seeds)
    every = correlations(found, metrics, against, centred, exclude_outliers, setting)
    return with_alt(figures.draw_correlations(every), figures.describe_correlations(every))


def plot_published_transfer(title: str) -> go.Figure:
    """Draw a published table of measured transfer, as ``plot_transfer`` or ``plot_transfer_gain`` draw your own.

    ``title`` is that of one of ``ptviz.analysis.published_transfer.load_published_tables``, which give the sources.

    Raises:
        ValueError: for another title.
    """
    tables = {table.title: table for table in load_published_tables()}
    if title not in tables:
        raise ValueError(f"title: expected one of {', '.join(map(repr, tables))}; got {title!r}")
    table = tables[title]
    if table.error_reduction is None:
        own = [[source == target for source in table.sources] for target in table.targets]
        figure = figures.draw_transfer_grid(table.scores / 100, table.targets, table.sources, own)
        alt = figures.describe_transfer_grid(table.scores / 100, table.targets, table.sources)
    else:
        figure = figures.draw_transfer_gains(table.error_reduction, table.targets, table.sources)
        alt = figures.describe_transfer_gains(table.error_reduction, table.targets, table.sources)
    return with_alt(figure, f"Published by {table.citation}. {alt}")


def zero_shot_accuracies(found: PromptSet, tasks: tuple[TargetTask, ...]) -> Float[np.ndarray, "t n"]:
    """Return scores without training: rows are tasks, columns no prompt, then every prompt; NaN where unknown."""
    scores = zero_shot_transfer.measured_scores(found.store, found.sources, tasks)
    return zero_shot_transfer.accuracy_matrix(found.sources, tasks, scores)


def error_reductions(
    found: PromptSet, tasks: tuple[TargetTask, ...], setting: TransferGainSettings
) -> Float[np.ndarray, "t n"]:
    """Return the mean relative error reductions: rows are target tasks, columns starts; NaN where unknown."""
    runs = transfer_gain.measured_runs(found.store, found.sources, tasks, setting)
    return mean_error_reduction(*transfer_gain.final_accuracies(found.store, found.sources, tasks, runs, setting))


def comparable_sources(found: PromptSet) -> PromptSet:
    """Return the runs and saved prompts with a known backbone whose prompts can be compared."""
    with_backbone = found.with_backbone()
    pairs = zip(with_backbone.sources, with_backbone.names, strict=True)
    kept = [(one, name) for one, name in pairs if name in with_backbone.vectors]
    return PromptSet(found.store, tuple(one for one, _ in kept), tuple(name for _, name in kept), with_backbone.vectors)


def correlations(
    found: PromptSet,
    metrics: Sequence[str],
    against: str,
    centred: bool,
    exclude_outliers: bool,
    setting: TransferGainSettings,
) -> Mapping[str, TransferCorrelation]:
    """Return the correlation of similarity with measured transfer under each of some metrics.

    Raises:
        ValueError: for an unknown metric or measure of transfer.
    """
    if against not in TRANSFER_MEASURES:
        raise ValueError(f"against: expected one of {', '.join(TRANSFER_MEASURES)}; got {against!r}")
    comparable = comparable_sources(found)
    tasks = transfer_prompts.target_tasks(found.with_backbone().sources)
    if against == TRANSFER_GAIN:
        measured = error_reductions(comparable, tasks, setting)
    else:
        accuracies = zero_shot_accuracies(comparable, tasks)
        measured = accuracies[:, 1:] - (accuracies[:, :1] if against == ZERO_SHOT_GAIN else 0)
    trained_on = [transfer_prompts.own_task_key(one, tasks) for one in comparable.sources]
    targets = [task.key for task in tasks]
    n = len(trained_on)

    def correlate(metric: str) -> TransferCorrelation:
        values = load_similarity(found, metric, centred, exclude_outliers).values[:n, :n]
        return correlate_transfer(values, trained_on, measured, targets)

    key = (found.cache_key, centred, exclude_outliers, tuple(trained_on), tuple(targets), measured.tobytes())
    return {one: cached_by_signature(("correlation", one, key), partial(correlate, one)) for one in metrics}
