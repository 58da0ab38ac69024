"""``ptviz transfer``: what every trained prompt scores on every task without further training."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import BadInput, Json, RunFailed, bad_input, emit, percent, progress_console, quietly, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptviz.experiments.transfer import Cell, Target
    from ptviz.runs import Store, Summary


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("transfer")(transfer)


def transfer(
    tasks: Annotated[str | None, typer.Option(help="Names with commas between. Default: those of the runs.")] = None,
    runs: Annotated[str | None, typer.Option(help="Ids with commas between. Default: all finished runs.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only runs in front of this backbone.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Validation rows a cell is measured on.")] = 200,
    gain: Annotated[bool, typer.Option("--gain", help="Train each task a little from each prompt instead.")] = False,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="With --gain: training steps.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="With --gain: seeds.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure zero-shot transfer: the accuracy of every trained prompt on every task.

    With --gain: the share of the errors that are left after a few training steps from scratch
    which a start from each other task's prompt takes away (relative error reduction, as in SPoT).

    Every cell is kept beside the runs as soon as it is measured and is
    never measured twice; after Ctrl-C the same command goes on. The app's page Transfer shows
    the grids measured on 200 rows.
    """
    if gain:
        _gain(runs, backbone, _tasks(tasks), steps, seeds, rows, as_json)
        return
    from ptviz.experiments.transfer import fill, known, missing
    from ptviz.runs import Store

    store = Store()
    with bad_input(OSError), quietly():
        chosen, wanted = _chosen(store, runs, backbone), _tasks(tasks)
        aims = _aims(chosen, wanted)
        lacking = missing(store, chosen, aims, rows)
    refused: list[Cell] = []
    with quietly(), bad_input(OSError):
        if lacking:
            refused = _measure(fill(store, chosen, aims, rows), lacking)
        found = known(store, chosen, aims, rows)
    result = _result(found.values(), rows, lacking, refused)
    if as_json:
        emit(result)
    else:
        _show(chosen, aims, found, rows)
    if refused:
        first = f"{refused[0].run} on {refused[0].task}: {refused[0].reason}"
        raise RunFailed(f"{len(refused)} of {lacking} cells could not be measured; the first: {first}")


def _gain(
    runs: str | None,
    backbone: str | None,
    tasks: tuple[str, ...] | None,
    steps: int,
    seeds: int,
    rows: int,
    as_json: bool,
) -> None:
    from ptviz.experiments.transfer_gain import Setting, known, missing, train_missing
    from ptviz.runs import Store

    store, setting = Store(), Setting(steps, seeds, rows)
    with bad_input(OSError), quietly():
        chosen = _chosen(store, runs, backbone)
        aims = _aims(chosen, tasks)
        lacking = missing(store, chosen, aims, setting)
    refused: list[Any] = []
    with quietly(), bad_input(OSError):
        if lacking:
            refused = _measure(train_missing(store, chosen, aims, setting), lacking)
        found = known(store, chosen, aims, setting)
    if as_json:
        emit(_trials(found.values(), setting, lacking, refused))
    else:
        _show_gains(store, chosen, aims, found, setting)
    if refused:
        first = f"{refused[0].start} on {refused[0].task}: {refused[0].reason}"
        raise RunFailed(f"{len(refused)} of {lacking} trials could not be made; the first: {first}")


def _trials(found: Any, setting: Any, lacking: int, refused: Sequence[Any]) -> dict[str, Any]:
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


def _show_gains(
    store: Store, chosen: Sequence[Summary], aims: Sequence[Target], found: dict[Any, Any], setting: Any
) -> None:
    from ptviz.analysis.transfer import over_seeds
    from ptviz.experiments.transfer_gain import ends

    grid = over_seeds(*ends(store, chosen, aims, found, setting)).T.tolist()
    rows = [
        (one.id, *(percent(value) if isfinite(value) else "" for value in row))
        for one, row in zip(chosen, grid, strict=True)
    ]
    table(("start", *(aim.name for aim in aims)), rows)
    typer.echo(
        f"A row is the prompt a task's training starts from, a column the task. Errors left after {setting.steps} "
        "steps from scratch that this start takes away; empty on its own task.",
        err=True,
    )


def _chosen(store: Store, runs: str | None, backbone: str | None) -> list[Summary]:
    from ptviz.experiments.transfer import sources

    found = sources(store, backbone)
    if runs is not None:
        known = {summary.id: summary for summary in found}
        wanted = [id.strip() for id in runs.split(",") if id.strip()]
        for id in wanted:
            if id not in known:
                store.get(id)  # says so in words, if there is none
                raise BadInput(f"--runs: {id} has not finished, or is in front of another backbone; see `ptviz runs`")
        found = [known[id] for id in dict.fromkeys(wanted)]
    if not found:
        which = f" in front of {backbone}" if backbone else ""
        raise BadInput(f"there is no finished run{which} to measure; train some, as in: ptviz train --task trec6")
    return found


def _tasks(tasks: str | None) -> tuple[str, ...] | None:
    names = None if tasks is None else tuple(name.strip() for name in tasks.split(",") if name.strip())
    if names == ():
        raise BadInput("--tasks: expected names with commas between, as in trec6,emotion; see `ptviz tasks`")
    return names


def _aims(chosen: Sequence[Summary], names: tuple[str, ...] | None) -> tuple[Target, ...]:
    """The target tasks; those named are looked up at once, before anything is measured."""
    from ptviz.experiments.transfer import targets
    from ptviz.tasks import load_task

    found = targets(chosen, names or ())
    if names is None:
        return found
    found = tuple(target for target in found if target.name in names)
    for target in found:
        load_task(target.name, text=target.text, label=target.label)
    return found


def _measure(cells: Any, total: int) -> list[Cell]:
    """Go through the cells with a bar on stderr; those that could not be measured."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    refused: list[Cell] = []
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


def _result(found: Any, rows: int, lacking: int, refused: Sequence[Cell]) -> dict[str, Any]:
    cells = [
        {"run": cell.run, "task": cell.task, "rows": cell.rows, "accuracy": cell.accuracy, "loss": cell.loss}
        for cell in found
    ]
    measured = lacking - len(refused)
    reasons = [{"run": cell.run, "task": cell.task, "reason": cell.reason} for cell in refused]
    return {"rows": rows, "measured": measured, "reused": len(cells) - measured, "cells": cells, "refused": reasons}


def _show(chosen: Sequence[Summary], aims: Sequence[Target], found: dict[Any, Cell], rows: int) -> None:
    from ptviz.experiments.transfer import bare

    backbones = [bare(name) for name in dict.fromkeys(run.config.backbone for run in chosen)]
    ids = [*backbones, *(run.id for run in chosen)]

    def cell(id: str, task: str) -> str:
        known = found.get((id, task, rows))
        return percent(known.accuracy if known else None)

    table(("prompt", *(aim.name for aim in aims)), [(id, *(cell(id, aim.name) for aim in aims)) for id in ids])
    typer.echo(
        "A row is a prompt (bare: none), a column a target task; on its own task a prompt is no transfer.", err=True
    )
