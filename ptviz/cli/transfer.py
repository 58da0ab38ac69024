"""``ptviz transfer``: zero-shot score of every trained prompt on every task."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import refuse_options, split_names, with_executor_options
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_percent,
    format_score,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.safe_text import escape_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptviz.executors.base import Executor
    from ptviz.executors.ray_transfer import ClusterTransfer
    from ptviz.experiments.transfer_results import TargetTask, TransferScore
    from ptviz.runs import RunSummary, Store
    from ptviz.tasks.metrics import Metric


@with_executor_options("make_executor")
def transfer(
    context: typer.Context,
    *,
    tasks: Annotated[
        str | None, typer.Option(help="Names separated by commas. Default: the tasks of the runs.")
    ] = None,
    runs: Annotated[str | None, typer.Option(help="Ids separated by commas. Default: all finished runs.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only runs on this backbone.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Validation examples for each score.")] = 200,
    gain: Annotated[bool, typer.Option("--gain", help="Measure short training from each prompt instead.")] = False,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="With --gain: training steps.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="With --gain: number of seeds.")] = 1,
    make_executor: Any,
    as_json: JsonOption = False,
) -> None:
    """Measure zero-shot transfer: the score of every trained prompt on every task, by the task's metric.

    With --gain, measure the relative error reduction (as in SPoT): the share of the errors left after a few steps of
    training from scratch that a start from another task's prompt removes.

    Each result is saved as soon as it is measured, and never measured twice; after Ctrl-C the same command continues.
    With --executor ray the nodes of a cluster measure, as long as this command runs.
    The page Transfer of the app shows the results on 200 examples.
    """
    if gain:
        _run_gain(runs, backbone, _parse_tasks(tasks), steps, seeds, rows, make_executor, as_json)
        return
    refuse_options(context, ("steps", "seeds"), "only with --gain")
    from ptviz.experiments.transfer_results import task_names
    from ptviz.experiments.zero_shot_transfer import count_missing, measure_missing, measured_scores
    from ptviz.runs import Store

    store = Store()
    with as_usage_error(OSError), quiet_libraries():
        selected, names = _select_prompts(store, runs, backbone), _parse_tasks(tasks)
        targets = _find_targets(selected, names)
        _print_damaged_entries(store)
        missing = count_missing(store, selected, targets, rows)
    failed: list[TransferScore] = []
    with quiet_libraries(), as_usage_error(OSError):
        if missing:
            cluster = _connect(make_executor())
            measure = None if cluster is None else cluster.measure
            scores = measure_missing(store, selected, targets, rows, measure=measure)
            failed = _collect_failures(scores, missing)
        found = measured_scores(store, selected, targets, rows)
    result = _scores_json(found.values(), rows, missing, failed, task_names(targets))
    if as_json:
        print_json(result)
    else:
        _print_scores(selected, targets, found, rows)
    if failed:
        first = f"{failed[0].run} on {failed[0].task}: {failed[0].reason}"
        raise RunFailed(f"{len(failed)} of {missing} scores could not be measured; the first: {first}")


def _connect(executor: Any) -> ClusterTransfer | None:
    """Return what measures on the executor's cluster; None if this process measures."""
    from ptviz.executors.local import LocalExecutor

    if isinstance(executor, LocalExecutor):
        return None
    from ptviz.executors.ray_transfer import ClusterTransfer

    return ClusterTransfer(executor)


def _print_damaged_entries(store: Store) -> None:
    from ptviz.experiments.transfer_results import describe_damaged_entries

    if problem := describe_damaged_entries(store):
        print_line(f"note: {problem}", error=True)


def _run_gain(
    runs: str | None,
    backbone: str | None,
    tasks: tuple[str, ...] | None,
    steps: int,
    seeds: int,
    rows: int,
    make_executor: Callable[[], Executor],
    as_json: bool,
) -> None:
    from ptviz.experiments.transfer_gain import (
        TransferGainSettings,
        count_missing_runs,
        measured_runs,
        train_missing_pairs,
    )
    from ptviz.experiments.transfer_results import task_names
    from ptviz.runs import Store

    store, setting = Store(), TransferGainSettings(steps, seeds, rows)
    with as_usage_error(OSError), quiet_libraries():
        selected = _select_prompts(store, runs, backbone)
        targets = _find_targets(selected, tasks)
        _print_damaged_entries(store)
        missing = count_missing_runs(store, selected, targets, setting)
    failed: list[Any] = []
    with quiet_libraries(), as_usage_error(OSError):
        if missing:
            cluster = _connect(make_executor())
            train = None if cluster is None else cluster.train
            pairs = train_missing_pairs(store, selected, targets, setting, train=train)
            failed = _collect_failures(pairs, missing)
        found = measured_runs(store, selected, targets, setting)
    if as_json:
        print_json(_gain_json(found.values(), setting, missing, failed, task_names(targets)))
    else:
        _print_gains(store, selected, targets, found, setting)
    if failed:
        first = f"{failed[0].start} on {failed[0].task}: {failed[0].reason}"
        raise RunFailed(f"{len(failed)} of {missing} runs could not be trained; the first: {first}")


def _gain_json(
    found: Any, setting: Any, missing: int, failed: Sequence[Any], names: Mapping[str, str]
) -> dict[str, Any]:
    runs = [
        {
            "start": trial.start, "task": names[trial.task], "seed": trial.seed, "metric": trial.metric,
            "evaluated": list(trial.evaluated),
            "accuracies": list(trial.accuracies), "seconds": trial.seconds,
        }
        for trial in found
    ]  # fmt: skip
    trained = missing - len(failed)
    reasons = [{"start": trial.start, "task": names[trial.task], "reason": trial.reason} for trial in failed]
    own = {"steps": setting.steps, "seeds": setting.seeds, "rows": setting.rows}
    return {**own, "made": trained, "reused": len(runs) - trained, "trials": runs, "refused": reasons}


def _print_gains(
    store: Store, selected: Sequence[RunSummary], targets: Sequence[TargetTask], found: dict[Any, Any], setting: Any
) -> None:
    from ptviz.analysis.transfer_correlation import mean_error_reduction
    from ptviz.experiments.transfer_gain import final_accuracies
    from ptviz.experiments.transfer_results import task_names

    grid = mean_error_reduction(*final_accuracies(store, selected, targets, found, setting)).T.tolist()
    rows = [
        (one.id, *(format_percent(value) if isfinite(value) else "" for value in row))
        for one, row in zip(selected, grid, strict=True)
    ]
    print_table(("start", *task_names(targets).values()), rows)
    print_line(
        f"Rows are start prompts, columns target tasks. Share of the errors left after {setting.steps} steps from "
        "scratch that the start removes; empty on the prompt's own task.",
        error=True,
    )


def _select_prompts(store: Store, runs: str | None, backbone: str | None) -> list[RunSummary]:
    from ptviz.experiments.transfer_prompts import source_prompts

    found = source_prompts(store, backbone)
    if runs is not None:
        known = {summary.id: summary for summary in found}
        names = split_names(runs) or ()
        for id in names:
            if id not in known:
                store.get(id)  # Raises if there is no such run.
                raise UsageError(f"--runs: {id} has not finished, or has another backbone; see `ptviz runs`")
        found = [known[id] for id in dict.fromkeys(names)]
    if not found:
        which = f" on {backbone}" if backbone else ""
        raise UsageError(f"no finished run{which} to measure; train one, as in: ptviz train prompt-tuning --task trec6")
    return found


def _parse_tasks(tasks: str | None) -> tuple[str, ...] | None:
    names = split_names(tasks)
    if names == ():
        raise UsageError("--tasks: expected names separated by commas, as in trec6,emotion; see `ptviz tasks`")
    return names


def _find_targets(selected: Sequence[RunSummary], names: tuple[str, ...] | None) -> tuple[TargetTask, ...]:
    """Return the target tasks; named ones are loaded first, so that an unknown one is reported before measuring."""
    from ptviz.experiments.transfer_prompts import target_tasks
    from ptviz.tasks import load_task

    found = target_tasks(selected, names or ())
    if names is None:
        return found
    found = tuple(target for target in found if target.name in names)
    for target in found:
        load_task(target.name, text=target.text, label=target.label, options=target.table)
    return found


def _collect_failures(cells: Any, total: int) -> list[TransferScore]:
    """Measure with a progress bar on stderr; return what could not be measured."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    failed: list[TransferScore] = []
    with Progress(*columns, console=progress_console(), transient=True) as bar:
        whole = bar.add_task("loading", total=total)
        for cell in cells:
            if cell is None:
                continue
            start = cell.start if hasattr(cell, "start") else cell.run
            bar.update(whole, advance=1, description=escape_hidden(f"{start} on {cell.task}"))
            if cell.reason:
                failed.append(cell)
    return failed


def _scores_json(
    found: Any, rows: int, missing: int, failed: Sequence[TransferScore], names: Mapping[str, str]
) -> dict[str, Any]:
    cells = [
        {"run": cell.run, "task": names[cell.task], "rows": cell.rows, "metric": cell.metric}
        | {"accuracy": cell.accuracy, "loss": cell.loss}
        for cell in found
    ]
    measured = missing - len(failed)
    reasons = [{"run": cell.run, "task": names[cell.task], "reason": cell.reason} for cell in failed]
    return {"rows": rows, "measured": measured, "reused": len(cells) - measured, "cells": cells, "refused": reasons}


def _print_scores(
    selected: Sequence[RunSummary], targets: Sequence[TargetTask], found: dict[Any, TransferScore], rows: int
) -> None:
    from ptviz.experiments.transfer_results import metrics_of_tasks, no_prompt_key, task_names
    from ptviz.tasks.metrics import ACCURACY

    metrics = metrics_of_tasks(found.values(), targets)
    backbones = [no_prompt_key(name) for name in dict.fromkeys(run.config.backbone for run in selected)]
    ids = [*backbones, *(run.id for run in selected)]

    def cell(id: str, task: str, metric: Metric) -> str:
        known = found.get((id, task, rows))
        return format_score(metric, known.accuracy if known else None)

    columns, titles = [(one.key, metric) for one, metric in zip(targets, metrics, strict=True)], task_names(targets)
    names = [titles[key] if metric == ACCURACY else f"{titles[key]} ({metric.noun})" for key, metric in columns]
    print_table(("prompt", *names), [(id, *(cell(id, task, metric) for task, metric in columns)) for id in ids])
    print_line(
        "Rows are prompts (bare: none), columns target tasks; a prompt on its own task is not transfer.", error=True
    )
