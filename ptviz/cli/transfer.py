"""``ptviz transfer``: what every trained prompt scores on every task without further training."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_percent,
    print_json,
    print_table,
    progress_console,
    quiet_libraries,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptviz.experiments.transfer import TargetTask, TransferScore
    from ptviz.runs import RunSummary, Store


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("transfer")(transfer)


def transfer(
    tasks: Annotated[str | None, typer.Option(help="Names with commas between. Default: those of the runs.")] = None,
    runs: Annotated[str | None, typer.Option(help="Ids with commas between. Default: all finished runs.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only runs in front of this backbone.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Validation rows a cell is measured on.")] = 200,
    gain: Annotated[bool, typer.Option("--gain", help="Train each task a little from each prompt instead.")] = False,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="With --gain: training steps.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="With --gain: seeds.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure zero-shot transfer: the accuracy of every trained prompt on every task.

    With --gain: the share of the errors that are left after a few training steps from scratch
    which a start from each other task's prompt takes away (relative error reduction, as in SPoT).

    Every cell is kept beside the runs as soon as it is measured and is
    never measured twice; after Ctrl-C the same command goes on. The app's page Transfer shows
    the grids measured on 200 rows.
    """
    if gain:
        _run_gain(runs, backbone, _parse_tasks(tasks), steps, seeds, rows, as_json)
        return
    from ptviz.experiments.transfer import count_missing, measure_missing, measured_scores
    from ptviz.runs import Store

    store = Store()
    with as_usage_error(OSError), quiet_libraries():
        chosen, wanted = _select_prompts(store, runs, backbone), _parse_tasks(tasks)
        aims = _find_targets(chosen, wanted)
        lacking = count_missing(store, chosen, aims, rows)
    refused: list[TransferScore] = []
    with quiet_libraries(), as_usage_error(OSError):
        if lacking:
            refused = _collect_failures(measure_missing(store, chosen, aims, rows), lacking)
        found = measured_scores(store, chosen, aims, rows)
    result = _scores_json(found.values(), rows, lacking, refused)
    if as_json:
        print_json(result)
    else:
        _print_scores(chosen, aims, found, rows)
    if refused:
        first = f"{refused[0].run} on {refused[0].task}: {refused[0].reason}"
        raise RunFailed(f"{len(refused)} of {lacking} cells could not be measured; the first: {first}")


def _run_gain(
    runs: str | None,
    backbone: str | None,
    tasks: tuple[str, ...] | None,
    steps: int,
    seeds: int,
    rows: int,
    as_json: bool,
) -> None:
    from ptviz.experiments.transfer_gain import (
        TransferGainSettings,
        count_missing_runs,
        measured_runs,
        train_missing_pairs,
    )
    from ptviz.runs import Store

    store, setting = Store(), TransferGainSettings(steps, seeds, rows)
    with as_usage_error(OSError), quiet_libraries():
        chosen = _select_prompts(store, runs, backbone)
        aims = _find_targets(chosen, tasks)
        lacking = count_missing_runs(store, chosen, aims, setting)
    refused: list[Any] = []
    with quiet_libraries(), as_usage_error(OSError):
        if lacking:
            refused = _collect_failures(train_missing_pairs(store, chosen, aims, setting), lacking)
        found = measured_runs(store, chosen, aims, setting)
    if as_json:
        print_json(_gain_json(found.values(), setting, lacking, refused))
    else:
        _print_gains(store, chosen, aims, found, setting)
    if refused:
        first = f"{refused[0].start} on {refused[0].task}: {refused[0].reason}"
        raise RunFailed(f"{len(refused)} of {lacking} trials could not be made; the first: {first}")


def _gain_json(found: Any, setting: Any, lacking: int, refused: Sequence[Any]) -> dict[str, Any]:
    told = [
        {
            "start": trial.start, "task": trial.task, "seed": trial.seed, "evaluated": list(trial.evaluated),
            "accuracies": list(trial.accuracies), "seconds": trial.seconds,
        }
        for trial in found
    ]  # fmt: skip
    made = lacking - len(refused)
    reasons = [{"start": trial.start, "task": trial.task, "reason": trial.reason} for trial in refused]
    own = {"steps": setting.steps, "seeds": setting.seeds, "rows": setting.rows}
    return {**own, "made": made, "reused": len(told) - made, "trials": told, "refused": reasons}


def _print_gains(
    store: Store, chosen: Sequence[RunSummary], aims: Sequence[TargetTask], found: dict[Any, Any], setting: Any
) -> None:
    from ptviz.analysis.transfer import mean_error_reduction
    from ptviz.experiments.transfer_gain import final_accuracies

    grid = mean_error_reduction(*final_accuracies(store, chosen, aims, found, setting)).T.tolist()
    rows = [
        (one.id, *(format_percent(value) if isfinite(value) else "" for value in row))
        for one, row in zip(chosen, grid, strict=True)
    ]
    print_table(("start", *(aim.name for aim in aims)), rows)
    typer.echo(
        f"A row is the prompt a task's training starts from, a column the task. Errors left after {setting.steps} "
        "steps from scratch that this start takes away; empty on its own task.",
        err=True,
    )


def _select_prompts(store: Store, runs: str | None, backbone: str | None) -> list[RunSummary]:
    from ptviz.experiments.transfer import source_prompts

    found = source_prompts(store, backbone)
    if runs is not None:
        known = {summary.id: summary for summary in found}
        wanted = [id.strip() for id in runs.split(",") if id.strip()]
        for id in wanted:
            if id not in known:
                store.get(id)  # says so in words, if there is none
                raise UsageError(f"--runs: {id} has not finished, or is in front of another backbone; see `ptviz runs`")
        found = [known[id] for id in dict.fromkeys(wanted)]
    if not found:
        which = f" in front of {backbone}" if backbone else ""
        raise UsageError(f"there is no finished run{which} to measure; train some, as in: ptviz train --task trec6")
    return found


def _parse_tasks(tasks: str | None) -> tuple[str, ...] | None:
    names = None if tasks is None else tuple(name.strip() for name in tasks.split(",") if name.strip())
    if names == ():
        raise UsageError("--tasks: expected names with commas between, as in trec6,emotion; see `ptviz tasks`")
    return names


def _find_targets(chosen: Sequence[RunSummary], names: tuple[str, ...] | None) -> tuple[TargetTask, ...]:
    """The target tasks; those named are looked up at once, before anything is measured."""
    from ptviz.experiments.transfer import target_tasks
    from ptviz.tasks import load_task

    found = target_tasks(chosen, names or ())
    if names is None:
        return found
    found = tuple(target for target in found if target.name in names)
    for target in found:
        load_task(target.name, text=target.text, label=target.label)
    return found


def _collect_failures(cells: Any, total: int) -> list[TransferScore]:
    """Go through the cells with a bar on stderr; those that could not be measured."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    refused: list[TransferScore] = []
    with Progress(*columns, console=progress_console(), transient=True) as bar:
        whole = bar.add_task("loading", total=total)
        for cell in cells:
            if cell is None:
                continue
            start = cell.start if hasattr(cell, "start") else cell.run
            bar.update(whole, advance=1, description=f"{start} on {cell.task}")
            if cell.reason:
                refused.append(cell)
    return refused


def _scores_json(found: Any, rows: int, lacking: int, refused: Sequence[TransferScore]) -> dict[str, Any]:
    cells = [
        {"run": cell.run, "task": cell.task, "rows": cell.rows, "accuracy": cell.accuracy, "loss": cell.loss}
        for cell in found
    ]
    measured = lacking - len(refused)
    reasons = [{"run": cell.run, "task": cell.task, "reason": cell.reason} for cell in refused]
    return {"rows": rows, "measured": measured, "reused": len(cells) - measured, "cells": cells, "refused": reasons}


def _print_scores(
    chosen: Sequence[RunSummary], aims: Sequence[TargetTask], found: dict[Any, TransferScore], rows: int
) -> None:
    from ptviz.experiments.transfer import no_prompt_key

    backbones = [no_prompt_key(name) for name in dict.fromkeys(run.config.backbone for run in chosen)]
    ids = [*backbones, *(run.id for run in chosen)]

    def cell(id: str, task: str) -> str:
        known = found.get((id, task, rows))
        return format_percent(known.accuracy if known else None)

    print_table(("prompt", *(aim.name for aim in aims)), [(id, *(cell(id, aim.name) for aim in aims)) for id in ids])
    typer.echo(
        "A row is a prompt (bare: none), a column a target task; on its own task a prompt is no transfer.", err=True
    )
