"""``ptviz sweep``: train every combination, or a random sample, of settings; nothing is trained twice."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import CsvOption, split_names, with_executor_options
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_score,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
    write_csv,
)
from ptviz.cli.progress import GracefulStop
from ptviz.cli.wait_for_runs import describe_plan, exit_if_incomplete, print_message, wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptviz.executors.base import Executor
    from ptviz.experiments.early_stopping import EarlyStopper
    from ptviz.experiments.planned_runs import PlannedRun
    from ptviz.experiments.sweep import SweepSpec
    from ptviz.experiments.sweep_cost import SweepCost
    from ptviz.runs import RunConfig

HEADINGS = ("method", "best settings", "tried", "validation", "test", "95% interval", "seeds")


@with_executor_options("make_executor")
def sweep(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.toml]", help="The sweep as a file; or give the options.")
    ] = None,
    *,
    methods: Annotated[str | None, typer.Option(help="all, or names separated by commas: see `ptviz methods`.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks, separated by commas.")] = None,
    backbones: Annotated[str | None, typer.Option(help="Backbones, separated by commas.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Number of seeds: 0, 1, 2, ...")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="A setting to vary: values as in --vary lr=0.01,0.1, or a range as in --vary lr=0.001..0.1:log:5 "
            "(5 points; a random search needs none). Repeatable.",
        ),
    ] = None,
    random: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Draw N settings at random instead of a grid.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep, under which the app finds it.")] = None,
    make_executor: Any,
    csv_path: CsvOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count runs, CPU hours and bytes; train nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a sweep of settings: methods, tasks, backbones, seeds, and lists or ranges of any setting.

    Runs that exist with the same settings are reused. Ctrl-C stops the runs; the same command continues them. The app
    shows the sweep while it runs, under Compare.
    """
    from ptviz.experiments.planned_runs import find_runs
    from ptviz.experiments.sweep import expand_sweep, save_sweep
    from ptviz.experiments.sweep_cost import estimate_sweep

    given = {"methods": methods, "tasks": tasks, "backbones": backbones, "seeds": seeds, "name": name}
    console = progress_console()
    with quiet_libraries(), as_usage_error(OSError), console.status("reading the sweep and the runs"):
        read, data = _read(spec, given, vary, random)
        configs = expand_sweep(read)
        _check_can_train(configs)
        executor = make_executor()
        planned = find_runs(executor.store, configs)
        cost = estimate_sweep(executor.store, planned)
    print_message(console, describe_plan(planned))
    if dry_run:
        _print_cost(cost, as_json)
        return
    reused = {entry.run for entry in planned if entry.state == "finished"}
    started = time.monotonic()
    with GracefulStop() as stop:
        with quiet_libraries(), as_usage_error(OSError):
            save_sweep(read, data)
            planned, stopper = _start(executor, read, planned, stop)
        planned = wait_for_runs(executor, planned, stop, console, run_label, stopper)
    _report(executor, read, planned, reused, time.monotonic() - started, csv_path, as_json)
    behind = [entry for entry in planned if _is_behind(executor, entry)]
    if behind:
        count = "1 run was" if len(behind) == 1 else f"{len(behind)} runs were"
        print_message(console, f"{count} stopped early by ASHA: kept, and not trained again")
    exit_if_incomplete([entry for entry in planned if entry not in behind], stop.requested, run_label)


def _start(
    executor: Executor, spec: SweepSpec, planned: tuple[PlannedRun, ...], stop: GracefulStop
) -> tuple[tuple[PlannedRun, ...], EarlyStopper | None]:
    """Queue the runs of a sweep, all but those that ASHA stopped before; return them and what stops lagging ones.

    On a cluster Ray Tune does that, and returns when it is done.
    """
    from ptviz.executors.local import LocalExecutor
    from ptviz.experiments.early_stopping import EarlyStopper
    from ptviz.experiments.planned_runs import refresh, start_runs

    if spec.early_stopping is None:
        return start_runs(executor, planned), None
    if not isinstance(executor, LocalExecutor):
        from ptviz.executors.ray_tune import train_with_early_stopping

        made: Any = executor
        followed = train_with_early_stopping(made, planned, spec.early_stopping, lambda: stop.requested)
        return refresh(executor.store, followed), None
    started = tuple(entry if _is_behind(executor, entry) else start_runs(executor, [entry])[0] for entry in planned)
    return started, EarlyStopper(executor, spec.early_stopping, started)


def _is_behind(executor: Executor, entry: PlannedRun) -> bool:
    from ptviz.experiments.early_stopping import was_stopped_early

    return was_stopped_early(executor.store, entry)


def _read(
    path: Path | None, given: dict[str, Any], vary: list[str] | None, random: int | None
) -> tuple[SweepSpec, bytes]:
    """Return the sweep of a file, or of the options, and its text."""
    from ptviz.experiments.sweep import read_sweep, sweep_from_options

    options = {key: value for key, value in given.items() if value is not None}
    if path is not None:
        if options or vary or random is not None:
            raise UsageError("expected a file, or options; got both. Write the settings into the file")
        return read_sweep(path), path.read_bytes()
    if not options and not vary:
        raise UsageError("expected a file, as in `ptviz sweep rates.toml`, or options such as --vary lr=0.01,0.1")
    for key in ("methods", "tasks", "backbones"):
        if key in options and options[key] != "all":
            options[key] = list(split_names(options[key]) or ())
    if random is not None:
        options |= {"search": "random", "samples": random}
    return sweep_from_options({**options, **_parse_vary(vary or [])})


def _parse_vary(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Return the tables of training settings and hyperparameters of ``NAME=VALUES``."""
    from dataclasses import fields

    from ptviz.training.config import TrainConfig

    training = {one.name for one in fields(TrainConfig)}
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise UsageError(f"--vary: expected NAME=VALUES, as in --vary lr=0.01,0.1; got {text!r}")
        table = found.setdefault("training" if name.strip() in training else "hyperparameters", {})
        if name.strip() in table:
            raise UsageError(f"--vary: {name.strip()} is given twice; give it once")
        table[name.strip()] = _parse_values(values)
    return found


def _parse_values(text: str) -> Any:
    """Return the list, or the range LOW..HIGH[:log][:POINTS], that a text gives."""
    low, dots, rest = text.partition("..")
    if not dots:
        return [_parse_value(value) for value in text.split(",")]
    high, *extras = rest.split(":")
    found: dict[str, Any] = {"low": _parse_value(low), "high": _parse_value(high)}
    for extra in extras:
        found |= {"points": int(extra)} if extra.isdigit() else {"scale": extra}
    return found


def _parse_value(text: str) -> Any:
    plain = text.strip()
    if plain in ("true", "false"):
        return plain == "true"
    for kind in (int, float):
        try:
            return kind(plain)
        except ValueError:
            continue
    return plain


def _check_can_train(configs: Sequence[RunConfig]) -> None:
    """Check every backbone and task of a sweep before anything is queued."""
    from ptviz import backbones
    from ptviz.engine.model_cache import load_run_task

    named = {info.name: info for info in backbones.list_backbones()}
    for name in dict.fromkeys(config.backbone for config in configs):
        if name in named and not named[name].available:
            raise UsageError(f"backbone {name} is not installed; get it with: {named[name].install_command}")
    for config in {config.task: config for config in configs}.values():
        load_run_task(config)


def run_label(entry: PlannedRun) -> str:
    """Return a planned run in a few words: method, task, seed, and the settings that differ from the defaults."""
    config = entry.config
    changed: dict[str, object] = {"lr": config.training.lr} if config.training.lr is not None else {}
    changed |= config.changed_hyperparameters()
    words = [config.method, config.task_names, *(f"{name} {value}" for name, value in changed.items())]
    return f"{', '.join(words)}, seed {config.training.seed}"


def _print_cost(cost: SweepCost, as_json: bool) -> None:
    if as_json:
        print_json(asdict(cost))
        return
    hours = "unknown (no run of one of the methods was measured)"
    if cost.processor_hours is not None:
        hours = f"{cost.processor_hours:,.2f}"
    rows = [
        ("runs", f"{cost.runs:,}"), ("finished", f"{cost.finished:,}"), ("queued or training", f"{cost.active:,}"),
        ("to continue", f"{cost.stopped:,}"), ("to train or continue", f"{cost.to_train:,}"),
        ("CPU hours", hours), ("megabytes", f"{cost.bytes / 1e6:,.0f}"),
        ("estimated from runs of yours", f"{cost.measured:,} of {cost.to_train:,}"),
    ]  # fmt: skip
    print_table(("what", "count"), rows)


def _report(
    executor: Executor,
    spec: SweepSpec,
    planned: Sequence[PlannedRun],
    reused: set[str | None],
    seconds: float,
    csv_path: Path | None,
    as_json: bool,
) -> None:
    """Print the best settings of each method on each task and backbone, and write the table of all runs."""
    from ptviz.experiments.sweep_results import best_row, load_best_settings, load_sweep_table, table_rows

    runs = [executor.store.get(entry.run) for entry in planned if entry.run is not None and entry.state != "missing"]
    groups: dict[tuple[str, str], list[Any]] = {}
    for run in runs:
        groups.setdefault((run.config.task, run.config.backbone), []).append(run)
    try:
        best: list[dict[str, Any]] = [
            {"task": task, "backbone": backbone, **best_row(one)}
            for (task, backbone), own in groups.items()
            for one in load_best_settings(own)
        ]
        rows = [row for own in groups.values() for row in table_rows(load_sweep_table(own)[0])]
    except ValueError as error:
        raise RunFailed(str(error)) from error
    if csv_path is not None:
        write_csv(csv_path, list(dict.fromkeys(name for row in rows for name in row)), rows)
    if as_json:
        counts = {"runs": len(planned), "reused": len(reused), "wall_seconds": seconds}
        print_json({"name": spec.name, **counts, "best": best, "table": rows})
        return
    from ptviz.analysis.statistics import INTERVAL_MARKS

    shown = []
    for (task, backbone), own in groups.items():
        metric = own[0].metric
        for one in (row for row in best if (row["task"], row["backbone"]) == (task, backbone)):
            limits = "-"
            if one["test_low"] is not None:
                limits = f"{format_score(metric, one['test_low'])} to {format_score(metric, one['test_high'])}"
                limits += INTERVAL_MARKS[one["interval_over"]]
            scores = format_score(metric, one["validation_mean"]), format_score(metric, one["test_mean"])
            place = (task, backbone) if len(groups) > 1 else ()
            row = (one["method"], *place, one["settings"] or "defaults", one["tried"], *scores, limits, one["seeds"])
            shown.append(row)
    if shown:
        headings = HEADINGS if len(groups) == 1 else (HEADINGS[0], "task", "backbone", *HEADINGS[1:])
        print_table(headings, shown)
        print_line("Best by validation score, averaged over seeds; test scores were not used to choose.", error=True)
