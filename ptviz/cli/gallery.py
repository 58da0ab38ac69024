"""``ptviz gallery``: train and pack the recorded runs that come with ptviz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ptviz import paths
from ptviz.cli.output import RunFailed, as_usage_error, print_line, progress_console, quiet_libraries
from ptviz.cli.progress import GracefulStop
from ptviz.cli.wait_for_runs import wait_for_runs

if TYPE_CHECKING:
    from ptviz.experiments.planned_runs import PlannedRun


def gallery(
    action: Annotated[Literal["record", "pack"], typer.Argument(help="`record` trains and packs, `pack` only packs.")],
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the gallery. Default: that of the app, assets/gallery.")
    ] = None,
) -> None:
    """Train the recorded runs that come with ptviz, measure their transfer, and pack both.

    Runs that PTVIZ_HOME already holds are reused. Ctrl-C stops the training; the same command continues it.
    """
    from ptviz.analysis.score_text import format_score
    from ptviz.executors.local import LocalExecutor
    from ptviz.experiments.make_gallery import gallery_configs, measure_transfer, pack_gallery
    from ptviz.experiments.planned_runs import find_runs, start_runs
    from ptviz.tasks.metrics import recorded_metric

    executor = LocalExecutor()
    with as_usage_error(OSError, ImportError):
        if action == "record":
            planned = find_runs(executor.store, gallery_configs())
            with GracefulStop() as stop:
                with quiet_libraries():
                    planned = start_runs(executor, planned)
                wait_for_runs(executor, planned, stop, progress_console(), _run_label)
            for score in () if stop.requested else measure_transfer(executor.store):
                measured = format_score(recorded_metric(score.metric), score.accuracy)
                print_line(f"{score.run} on {score.task}: {score.reason or measured}")
        packed = pack_gallery(executor.store, folder or paths.gallery_dir(), print_line)
    print_line(f"{len(packed.runs)} runs, {packed.measured} measured transfers, {packed.size / 1e6:.1f} MB")
    if packed.missing:
        names = ", ".join(
            f"{e.config.method} on {e.config.task}, seed {e.config.training.seed}" for e in packed.missing
        )
        raise RunFailed(f"not finished, and kept as recorded before if they were: {names}")


def _run_label(entry: PlannedRun) -> str:
    return f"{entry.config.method} on {entry.config.task}, seed {entry.config.training.seed}"
