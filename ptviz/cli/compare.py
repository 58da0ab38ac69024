"""``ptviz race``: several methods over several seeds, through the queue, and who came out where."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import SetOption, parse_hyperparameters
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_percent,
    markdown_table,
    print_json,
    print_table,
    progress_console,
    quiet_libraries,
    write_csv,
)
from ptviz.cli.progress import GracefulStop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ptviz.analysis.comparison import MethodSummary, RunResult
    from ptviz.executors.local import LocalExecutor
    from ptviz.experiments.comparison import PlannedRun
    from ptviz.runs import RunConfig

_POLL_SECONDS = 0.5
"""Seconds between two looks at the runs."""
HEADINGS = (
    "method", "test", "sd", "95 % interval", "zero-shot", "trained", "stored", "seconds", "memory MB", "length",
    "file MB", "steps to 90, 95 %", "seeds",
)  # fmt: skip
PAIR_HEADINGS = ("against", "points", "95 % interval", "seeds", "told apart")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("race")(compare)


def compare(
    methods: Annotated[str, typer.Option(help="all, or names with commas between: see `ptviz methods`.")] = "all",
    task: Annotated[str, typer.Option(help="A name, a file (CSV, TSV, JSONL, Parquet), or hub:ID.")] = "trec6",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many: seeds 0, 1, 2, ...")] = 3,
    backbone: Annotated[str, typer.Option(help="A name, a local folder, or a hub id.")] = "minilm-l6",
    steps: Annotated[int, typer.Option(min=1, help="Updates on the task.")] = 200,
    sets: SetOption = None,
    text: Annotated[str | None, typer.Option(help="The column of texts in your file.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of labels in your file.")] = None,
    path: Annotated[Path | None, typer.Option("--csv", metavar="PATH", help="Also write the table here.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Answer with Markdown tables.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let methods race on one task.

    Runs that are there already with the same settings count; the rest is trained by the same worker that serves the
    app, one after another. A knob given with --set holds for every method that has it. Ctrl-C stops the runs of this
    race; the same command goes on from there.
    """
    from ptviz.executors.local import LocalExecutor
    from ptviz.experiments import comparison as racing

    console = progress_console()
    with quiet_libraries(), console.status("reading the task and the runs"):
        configs = _make_configs(methods, seeds, sets, task, backbone, steps, text, label)
        executor = LocalExecutor()
        with as_usage_error(OSError):
            found = racing.find_runs(executor.store, configs)
    old = {entry.run for entry in found if entry.state == "finished"}
    _print_line(console, _describe_plan(found))
    if dry:
        _print_dry_run(found, as_json)
        return
    began = time.monotonic()
    with GracefulStop() as stopping:  # Before the first run is queued: Ctrl-C must find all that were.
        with quiet_libraries(), as_usage_error(OSError):
            found = racing.start_runs(executor, found)
        found = _wait_for_runs(executor, found, stopping, console)
    laps = _load_results(executor, found)
    result = _comparison_json(found, laps, old, time.monotonic() - began)
    if path is not None:
        from ptviz.analysis.comparison import TABLE_COLUMNS

        write_csv(path, TABLE_COLUMNS, result["methods"])
    order = result.pop("standings")
    if as_json:
        print_json(result)
    elif markdown:
        print(_format_markdown(result, order))
    else:
        _print_comparison(result, order)
    _exit_if_incomplete(found, stopping.requested)


def _make_configs(
    methods: str,
    seeds: int,
    sets: list[str] | None,
    task: str,
    backbone: str,
    steps: int,
    text: str | None,
    label: str | None,
) -> tuple[RunConfig, ...]:
    """The runs asked for, once everything that can be wrong with them was looked at."""
    from ptviz import backbones
    from ptviz.experiments.comparison import make_configs, parse_methods
    from ptviz.runs import RunConfig
    from ptviz.tasks import load_task
    from ptviz.training import TrainConfig

    known = {info.name: info for info in backbones.list_backbones()}
    if backbone in known and not known[backbone].available:
        raise UsageError(
            f"backbone {backbone} is not on this machine yet; get it with: {known[backbone].install_command}"
        )
    with as_usage_error(OSError):
        base = RunConfig(backbone, task, training=TrainConfig(steps=steps), text=text, label=label)
        made = make_configs(parse_methods(methods), range(seeds), base, parse_hyperparameters(sets))
        load_task(task, text=text, label=label)
    return made


def _describe_plan(found: Sequence[PlannedRun]) -> str:
    done = sum(entry.state == "finished" for entry in found)
    going = sum(entry.state in ("queued", "running", "stopping") for entry in found)
    again = sum(entry.state == "stopped" for entry in found)
    parts = [f"{done} finished before and count as they are"] if done else []
    parts += [f"{going} under way already"] if going else []
    parts += [f"{again} stopped before and go on"] if again else []
    new = len(found) - done - going - again
    parts += [f"{new} to train"] if new else []
    return f"{len(found)} runs: {', '.join(parts)}"


def _print_dry_run(found: Sequence[PlannedRun], as_json: bool) -> None:
    rows = [(e.config.method, e.config.training.seed, e.state, e.run or "") for e in found]
    if as_json:
        print_json([dict(zip(("method", "seed", "state", "run"), row, strict=True)) for row in rows])
    else:
        print_table(("method", "seed", "state", "run"), rows)


def _wait_for_runs(
    executor: LocalExecutor, found: tuple[PlannedRun, ...], stopping: GracefulStop, console: Console
) -> tuple[PlannedRun, ...]:
    """Show the runs until none is under way; on Ctrl-C stop those of this race, the waiting ones first."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ptviz.experiments import comparison as racing
    from ptviz.runs.status import ACTIVE_STATES

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    told = {entry.run for entry in found if entry.state == "finished"}
    stopped = False
    with Progress(*columns, console=console, transient=True) as bar:
        whole = bar.add_task("race", total=len(found), completed=len(told))
        single = bar.add_task("waiting for the worker", total=1, completed=0)
        while not racing.is_done(found):
            if stopping.requested and not stopped:
                stopped = True
                count = racing.stop_runs(executor, found)
                _print_line(console, f"stopping {count} run{'s' if count != 1 else ''} of this race")
            elif not stopped:
                executor.ensure_worker()
            time.sleep(_POLL_SECONDS)
            found = racing.refresh(executor.store, found)
            for entry in found:
                if entry.state not in ACTIVE_STATES and entry.run not in told:
                    told.add(entry.run)
                    _print_line(console, _describe_run(executor, entry))
            bar.update(whole, completed=sum(entry.state not in ACTIVE_STATES for entry in found))
            for entry in found:
                if entry.state in ("running", "stopping"):
                    status = executor.store.get(str(entry.run)).status()
                    bar.update(single, description=_run_label(entry), total=status.steps, completed=status.step)
    return found


def _run_label(entry: PlannedRun) -> str:
    return f"{entry.config.method}, seed {entry.config.training.seed}"


def _describe_run(executor: LocalExecutor, entry: PlannedRun) -> str:
    status = executor.store.get(str(entry.run)).status()
    if status.state == "finished":
        return f"{_run_label(entry)}: test {format_percent(status.test)} in {status.seconds:.0f} s"
    return f"{_run_label(entry)}: {status.state}: {status.reason}"


def _load_results(executor: LocalExecutor, found: Sequence[PlannedRun]) -> list[RunResult]:
    from ptviz.analysis.comparison import RunResult
    from ptviz.experiments.comparison import load_results

    return [RunResult(**asdict(outcome)) for outcome in load_results(executor.store, found)]


def _comparison_json(
    found: Sequence[PlannedRun], laps: Sequence[RunResult], old: set[str | None], wall: float
) -> dict[str, Any]:
    from ptviz.analysis.comparison import compare_paired, summarise_methods, table_rows

    order = summarise_methods(laps)
    config = found[0].config
    numbers = {lap.run: asdict(lap) for lap in laps}
    runs = [
        {"method": e.config.method, "seed": e.config.training.seed, "state": e.state, "reused": e.run in old}
        | {"run": e.run}
        | numbers.get(str(e.run), {})
        for e in found
    ]
    pairs = [
        asdict(pair) | {"clear": pair.significant} for pair in (compare_paired(order[0], other) for other in order[1:])
    ]
    return {
        "backbone": config.backbone, "task": config.task, "steps": config.training.steps,
        "reused": len([run for run in runs if run["reused"]]), "wall_seconds": wall, "methods": table_rows(order),
        "against_the_first": pairs, "runs": runs, "standings": order,
    }  # fmt: skip


def _print_comparison(result: dict[str, Any], order: Sequence[MethodSummary]) -> None:
    if order:
        print_table(HEADINGS, [table_cells(one) for one in order], parted=True)
    if len(order) > 1 and sys.stdout.isatty():  # Elsewhere stdout is one table; --json has both.
        typer.echo(f"\n{order[0].method} against the others, seed by seed:")
        print_table(PAIR_HEADINGS, _pair_rows(result))
    if result["reused"]:
        typer.echo(f"{result['reused']} of {len(result['runs'])} runs had been trained before.", err=True)
    if len(order) > 1 and max(len(one.seeds) for one in order) < 5:
        typer.echo("Few seeds: an interval of three holds the true middle about three times in four.", err=True)


def _format_markdown(result: dict[str, Any], order: Sequence[MethodSummary]) -> str:
    said = f"{result['task']} on {result['backbone']}, {result['steps']} steps, {len(result['runs'])} runs."
    parts = [said, markdown_table(HEADINGS, [table_cells(one) for one in order])]
    if len(order) > 1:
        parts += [
            f"{order[0].method} against the others, seed by seed:",
            markdown_table(PAIR_HEADINGS, _pair_rows(result)),
        ]
    return "\n\n".join(parts)


def _pair_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The first against every other, in points of accuracy."""
    rows: list[tuple[str, ...]] = []
    for pair in result["against_the_first"]:
        span, seeds = pair["interval"], len(pair["seeds"])
        limits = f"{100 * span['low']:+.1f} to {100 * span['high']:+.1f}" if span else "-"
        told = ("yes" if pair["clear"] else "no") if span else "one seed cannot tell"
        rows.append((pair["second"], f"{100 * pair['mean']:+.1f}" if seeds else "-", limits, str(seeds), told))
    return rows


def table_cells(one: MethodSummary) -> tuple[str, ...]:
    """A row of the table for people, under ``HEADINGS``."""
    from ptviz.analysis.comparison import to_mebibytes

    def number(value: float | None, form: str = ",.0f") -> str:
        return "-" if value is None else format(value, form)

    span = f"{format_percent(one.interval.low)} to {format_percent(one.interval.high)}" if one.interval else "-"
    steps = "-" if one.steps95 is None else f"{number(one.steps90)}, {number(one.steps95)}"
    return (
        one.method, format_percent(one.mean), format_percent(one.sd), span, format_percent(one.zero_shot),
        number(one.trained),
        number(one.stored), number(one.seconds), number(to_mebibytes(one.memory)), number(one.length),
        number(to_mebibytes(one.size), ".3g"), steps, str(len(one.seeds)),
    )  # fmt: skip


def _exit_if_incomplete(found: Sequence[PlannedRun], interrupted: bool) -> None:
    stopped = [entry for entry in found if entry.state == "stopped"]
    failed = [entry for entry in found if entry.state in ("failed", "missing")]
    if interrupted or stopped:
        typer.echo(f"ptviz: {len(stopped)} runs stopped. Go on: the same command again", err=True)
        raise typer.Exit(130 if interrupted else 1)
    if failed:
        names = ", ".join(entry.run or _run_label(entry) for entry in failed)
        raise RunFailed(f"{len(failed)} of {len(found)} runs failed: {names}. Why: ptviz show RUN")


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
