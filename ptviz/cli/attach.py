"""``ptviz attach``: find the runs of a Ray cluster again, and follow them to their end."""

from __future__ import annotations

from types import FrameType
from typing import Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    as_usage_error,
    print_json,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.progress import GracefulStop
from ptviz.cli.wait_for_runs import exit_if_incomplete, print_message, wait_for_runs


def attach(
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster. Default: $PTVIZ_RAY_ADDRESS, or auto.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only show the nodes and the queue.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the runs of a Ray cluster again, show its nodes and its queue, and follow the runs to their end.

    Runs go on without this command, and after Ctrl-C: `ptviz train --resume RUN` or the app stop or resume one.
    """
    from ptviz.cli.sweep import run_label
    from ptviz.executors.choose import make_executor
    from ptviz.experiments.planned_runs import PlannedRun

    console = progress_console()
    with quiet_libraries(), as_usage_error(OSError), console.status("looking for the cluster"):
        executor: Any = make_executor("ray", address)
        unfinished = executor.attach()
        cluster = executor.describe_cluster()
    if as_json:
        print_json({**cluster, "unfinished": unfinished})
        return
    nodes = [
        (one["host"], one["id"], "up" if one["alive"] else "down", f"{one['cpus']:g}", f"{one['gpus']:g}", one["runs"])
        for one in cluster["nodes"]
    ]
    print_table(
        ("node", "id", "state", "processors", "accelerators", "runs"),
        [(*row, ", ".join(runs) or "-") for *row, runs in nodes],
    )
    count = "1 unfinished run" if len(unfinished) == 1 else f"{len(unfinished)} unfinished runs"
    print_message(console, f"{count}, {len(cluster['queued'])} in the queue")
    if no_wait or not unfinished:
        return
    planned = tuple(PlannedRun(executor.store.get(id).config, id, executor.status(id).state) for id in unfinished)
    with _Detach() as stop:
        planned = wait_for_runs(executor, planned, stop, console, run_label)
    # One that was stopped elsewhere was stopped on purpose.
    exit_if_incomplete([entry for entry in planned if entry.state != "stopped"], False, run_label)


class _Detach(GracefulStop):
    """Ctrl-C ends this command and leaves the runs alone."""

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
