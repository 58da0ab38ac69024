"""``ptviz findings``: replications of published findings, with effect sizes and intervals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import MarkdownOption, check_one_form, refuse_options, with_executor_options
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.progress import GracefulStop, RunProgress
from ptviz.cli.wait_for_runs import wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptviz.executors.base import Executor
    from ptviz.experiments.replication import ReplicationStudy, StudyRecord, StudyResult
    from ptviz.training import Event

HEADINGS = (
    "finding",
    "claim",
    "compared",
    "first",
    "second",
    "first minus second",
    "95% interval",
    "seeds",
    "verdict",
)


@with_executor_options("make_executor")
def findings(
    context: typer.Context,
    *,
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Train the missing runs of this finding; `all` for all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="With --run: number of seeds 1, 2, 3, ...")] = 5,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record the results in this file instead.")
    ] = None,
    make_executor: Any,
    markdown: MarkdownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show which published findings replicate, with effect sizes and intervals.

    Each is a small experiment whose runs and results are saved; only missing runs are trained. Ctrl-C stops it, and the
    same command continues.
    """
    check_one_form(as_json, markdown)
    if run is None:
        refuse_options(context, ("seeds", "executor"), "only with --run")
    with quiet_libraries(), as_usage_error(OSError):
        from ptviz.experiments.replication import STUDIES, StudyRecord

        known = {study.id: study for study in STUDIES}
        if run not in (None, "all", *known):
            raise UsageError(f"--run: expected `all`, or one of {', '.join(known)}; got {run!r}")
        results = StudyRecord(record)
    stopped = False
    studies = list(STUDIES) if run in (None, "all") else [known[run]]
    if run is not None:
        stopped = _train_missing(studies, results, tuple(range(1, seeds + 1)), make_executor)
    evaluated = [results.evaluate(study) for study in studies]
    if as_json:
        print_json([_to_json(one) | {"arms": _arm_values(one, results)} for one in evaluated])
    elif markdown:
        print_line(_format_markdown(evaluated))
    else:
        print_table(HEADINGS, [row for one in evaluated for row in _table_rows(one)])
    if stopped:
        print_line("ptviz: stopped. To continue, repeat the same command", error=True)
        raise typer.Exit(130)


def _train_missing(
    studies: list[ReplicationStudy],
    record: StudyRecord,
    seeds: tuple[int, ...],
    make_executor: Callable[[], Executor],
) -> bool:
    """Train and measure the missing runs; return whether it was interrupted.

    They are trained in this process, unless they are to be trained on a cluster: then only measured here.
    """
    from ptviz.cli.sweep import run_label
    from ptviz.engine.model_cache import ModelCache
    from ptviz.executors.local import LocalExecutor
    from ptviz.experiments.planned_runs import find_runs, start_runs
    from ptviz.runs import Run, Store
    from ptviz.runs.run_file_io import StoreError

    console = progress_console()
    executor = make_executor()
    store, model_cache = Store(), ModelCache()
    shown: list[RunProgress] = []  # The bar of the current run, if any.

    def on_start(run: Run) -> None:
        _close_progress(shown)
        shown.append(RunProgress(run.id, run.config.training.steps, console))
        shown[0].__enter__()

    def on_event(event: Event) -> None:
        if shown and event.kind in ("stage", "step"):
            shown[0].on_event(event)

    with quiet_libraries(), GracefulStop() as stop:
        try:
            for study in studies:
                with as_usage_error():
                    missing = record.list_missing(study, seeds)
                console.print(f"{study.id}: {len(missing)} runs to train or measure", markup=False, highlight=False)
                if not isinstance(executor, LocalExecutor):
                    planned = start_runs(executor, find_runs(store, [one.config for one in missing]))
                    wait_for_runs(executor, planned, stop, console, run_label)
                measured = record.measure_missing(missing, store, model_cache, on_event, stop.reason, on_start)
                if sum(1 for _ in measured) < len(missing):
                    return True
        except StoreError as error:
            raise RunFailed(str(error)) from error
        finally:
            _close_progress(shown)
    return False


def _close_progress(shown: list[RunProgress]) -> None:
    for progress in shown:
        progress.__exit__(None, None, None)
    shown.clear()


def _to_json(result: StudyResult) -> dict[str, Any]:
    study = result.study
    return {
        "id": study.id,
        "claim": study.claim,
        "citation": study.citation,
        "url": study.url,
        "task": study.task,
        "backbone": study.backbone,
        "steps": study.steps,
        "note": study.note,
        "seeds": result.seeds,
        "verdict": result.verdict,
        "differences": [asdict(difference) for difference in result.differences],
    }


def _arm_values(result: StudyResult, record: StudyRecord) -> list[dict[str, Any]]:
    """Return the measured values of every arm, by seed."""
    study = result.study
    return [
        {
            "arm": arm.label,
            "method": arm.method,
            "metric": metric,
            "values": record.values_by_seed(study, arm, metric),
        }
        for arm, metric in study.list_measurements()
    ]


def _table_rows(result: StudyResult) -> list[tuple[str, ...]]:
    from ptviz.experiments.replication.comparison_text import comparison_row

    rows: list[tuple[str, ...]] = []
    for index, difference in enumerate(result.differences):
        claim = result.study.claim if index == 0 else ""
        seeds = str(len(difference.differences))
        rows.append((result.study.id, claim, *comparison_row(difference), seeds, difference.verdict))
    return rows


def _format_markdown(results: list[StudyResult]) -> str:
    from ptviz.experiments.replication.comparison_text import comparison_row

    lines = [
        "| finding | here | compared, in points of accuracy or counts | first minus second | 95% interval | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        for index, difference in enumerate(one.differences):
            what, first, second, mean, limits = comparison_row(difference)
            claim = f"{one.study.claim} [{one.study.citation}]({one.study.url})" if index == 0 else ""
            verdict = f"**{one.verdict}**" if index == 0 else ""
            sides = f"{what}: {first} against {second}, {difference.verdict}"
            lines.append(f"| {claim} | {verdict} | {sides} | {mean} | {limits} | {len(difference.differences)} |")
    notes = [f"- {one.study.id}: {one.study.note}" for one in results if one.study.note]
    return "\n".join([*lines, "", *notes])
