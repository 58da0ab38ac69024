"""Runs of one command: what is planned, their progress with the time left, and the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from ptviz.cli.output import RunFailed, format_score, print_line
from ptviz.cli.progress import GracefulStop
from ptviz.safe_text import escape_hidden

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ptviz.executors.base import Executor
    from ptviz.experiments.early_stopping import EarlyStopper
    from ptviz.experiments.planned_runs import PlannedRun

POLL_SECONDS = 0.5
"""Seconds between two checks of the runs; of many runs, more, so that most of the time is theirs."""
_MAX_NAMED = 20
"""Failed runs that are named at the end."""

Label = Callable[["PlannedRun"], str]


def describe_plan(planned: Sequence[PlannedRun]) -> str:
    """Return in one line how many runs there are, and what happens to them."""
    states = [entry.state for entry in planned]
    finished, stopped = states.count("finished"), states.count("stopped")
    active = sum(state in ("queued", "running", "stopping") for state in states)
    missing = len(states) - finished - active - stopped
    parts = [
        (finished, "already finished, reused"), (active, "already queued or training"),
        (stopped, "stopped, to be continued"), (missing, "to train"),
    ]  # fmt: skip
    return f"{len(states)} runs: {', '.join(f'{count} {what}' for count, what in parts if count)}"


def wait_for_runs(
    executor: Executor,
    planned: tuple[PlannedRun, ...],
    stop: GracefulStop,
    console: Console,
    label: Label,
    stopper: EarlyStopper | None = None,
) -> tuple[PlannedRun, ...]:
    """Show progress and the time left until no run is active; on Ctrl-C stop these runs, the queued ones first.

    ``stopper`` stops those that fall behind.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ptviz.experiments.planned_runs import is_done, refresh, stop_runs
    from ptviz.runs.status import ACTIVE_STATES

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    reported = {entry.run for entry in planned if entry.state not in ACTIVE_STATES}
    stopped, pause = False, POLL_SECONDS
    with Progress(*columns, console=console, transient=True, speed_estimate_period=600) as bar:
        total = bar.add_task("all runs", total=len(planned), completed=len(reported))
        current = bar.add_task("waiting for the first step", total=1, completed=0)
        while not is_done(planned):
            if stop.requested and not stopped:
                stopped = True
                count = stop_runs(executor, planned)
                print_message(console, f"stopping {count} run{'s' if count != 1 else ''} of this command")
            elif not stopped:
                executor.ensure_worker()
            time.sleep(pause)
            began = time.monotonic()
            planned = refresh(executor.store, planned)
            if stopper is not None and not stopped:
                stopper.stop_lagging_runs(planned)
            for entry in planned:
                if entry.state not in ACTIVE_STATES and entry.run not in reported:
                    reported.add(entry.run)
                    print_message(console, _describe_run(executor, entry, label))
            _update(bar, total, current, executor, planned, label)
            pause = max(POLL_SECONDS, 4 * (time.monotonic() - began))
    return planned


def _update(
    bar: Progress, total: TaskID, current: TaskID, executor: Executor, planned: Sequence[PlannedRun], label: Label
) -> None:
    """Set the bars: all runs, each by its share of steps, and the run that was last seen to train."""
    from ptviz.runs.status import ACTIVE_STATES

    done = float(sum(entry.state not in ACTIVE_STATES for entry in planned))
    for entry in planned:
        if entry.state in ("running", "stopping"):
            status = executor.store.get(str(entry.run)).status()
            done += min(status.step / max(status.steps, 1), 1.0) if status.stage == 0 else 0.5
            bar.update(current, description=escape_hidden(label(entry)), total=status.steps, completed=status.step)
    bar.update(total, completed=done)


def _describe_run(executor: Executor, entry: PlannedRun, label: Label) -> str:
    if entry.run is None:
        return f"{label(entry)}: deleted"
    run = executor.store.get(entry.run)
    status = run.status()
    if status.state == "finished":
        return f"{label(entry)}: test {format_score(run.metric, status.test)} in {status.seconds:.0f} s"
    return f"{label(entry)}: {status.state}: {status.reason}"


def exit_if_incomplete(planned: Sequence[PlannedRun], interrupted: bool, label: Label) -> None:
    """End the command with its exit code if runs were stopped or failed.

    Raises:
        Exit: with 130 after Ctrl-C, with 1 for runs that were stopped otherwise.
        RunFailed: if runs failed.
    """
    stopped = [entry for entry in planned if entry.state == "stopped"]
    failed = [entry for entry in planned if entry.state in ("failed", "missing")]
    if interrupted or stopped:
        print_line(f"ptviz: {len(stopped)} runs stopped. To continue, repeat the same command", error=True)
        raise typer.Exit(130 if interrupted else 1)
    if failed:
        names = ", ".join(entry.run or label(entry) for entry in failed[:_MAX_NAMED])
        more = f" and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
        reason = "For the reason: ptviz show RUN"
        raise RunFailed(f"{len(failed)} of {len(planned)} runs failed: {names}{more}. {reason}")


def print_message(console: Console, line: str) -> None:
    """Print one line above the bars of a console."""
    console.print(escape_hidden(line), markup=False, highlight=False, soft_wrap=True)
