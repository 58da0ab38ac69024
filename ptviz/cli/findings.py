"""``ptviz findings``: what the papers found, tried again here, and whether it held."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    print_json,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.progress import GracefulStop, RunProgress

if TYPE_CHECKING:
    from ptviz.experiments.replication import ReplicationStudy, StudyRecord, StudyResult
    from ptviz.training import Event

HEADINGS = ("finding", "claim", "compared", "first", "second", "difference", "95 % interval", "seeds", "verdict")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("findings")(findings)


def findings(
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Train what this finding still lacks; `all` for all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="With --run: seeds 0, 1, 2, ...")] = 3,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep results here instead.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Answer with a Markdown table.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which published findings hold here, with effect sizes and intervals.

    Each is a small experiment whose runs are kept like any other, and whose results are recorded: only what is missing
    is trained. Ctrl-C stops it, and the same command goes on from there.
    """
    with quiet_libraries(), as_usage_error(OSError):
        from ptviz.experiments.replication import STUDIES, StudyRecord

        known = {finding.id: finding for finding in STUDIES}
        if run not in (None, "all", *known):
            raise UsageError(f"--run: expected `all`, or one of {', '.join(known)}; got {run!r}")
        kept = StudyRecord(record)
    stopped = False
    if run is not None:
        chosen = list(STUDIES) if run == "all" else [known[run]]
        stopped = _train_missing(chosen, kept, tuple(range(seeds)))
        shown = chosen
    else:
        shown = list(STUDIES)
    judged = [kept.evaluate(finding) for finding in shown]
    if as_json:
        print_json([_to_json(one) | {"arms": _arm_values(one, kept)} for one in judged])
    elif markdown:
        print(_format_markdown(judged))
    else:
        print_table(HEADINGS, [row for one in judged for row in _table_rows(one)])
    if stopped:
        typer.echo("ptviz: stopped. Go on: the same command again", err=True)
        raise typer.Exit(130)


def _train_missing(chosen: list[ReplicationStudy], record: StudyRecord, seeds: tuple[int, ...]) -> bool:
    """Train and measure what is missing; whether it was interrupted."""
    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Run, Store
    from ptviz.runs.atomic_io import StoreError

    console = progress_console()
    store, warm = Store(), ModelCache()
    following: list[RunProgress] = []

    def begun(made: Run) -> None:
        _close_progress(following)
        following.append(RunProgress(made.id, made.config.training.steps, console))
        following[0].__enter__()

    def watch(event: Event) -> None:
        if following and event.kind in ("stage", "step"):
            following[0].on_event(event)

    with quiet_libraries(), GracefulStop() as stopping:
        try:
            for finding in chosen:
                with as_usage_error():
                    missing = record.list_missing(finding, seeds)
                console.print(f"{finding.id}: {len(missing)} runs to train or measure", markup=False, highlight=False)
                filled = record.measure_missing(missing, store, warm, watch, stopping.reason, begun)
                done = sum(1 for _ in filled)
                if done < len(missing):
                    return True
        except StoreError as error:
            raise RunFailed(str(error)) from error
        finally:
            _close_progress(following)
    return False


def _close_progress(following: list[RunProgress]) -> None:
    for one in following:
        one.__exit__(None, None, None)
    following.clear()


def _to_json(judged: StudyResult) -> dict[str, Any]:
    finding = judged.study
    return {
        "id": finding.id, "claim": finding.claim, "citation": finding.citation, "url": finding.url,
        "task": finding.task, "backbone": finding.backbone, "steps": finding.steps, "note": finding.note,
        "seeds": judged.seeds, "verdict": judged.verdict,
        "differences": [asdict(difference) for difference in judged.differences],
    }  # fmt: skip


def _arm_values(judged: StudyResult, record: StudyRecord) -> list[dict[str, Any]]:
    """What every arm was measured at, by seed."""
    finding = judged.study
    return [
        {
            "arm": arm.label,
            "method": arm.method,
            "metric": metric,
            "values": record.values_by_seed(finding, arm, metric),
        }
        for arm, metric in finding.list_measurements()
    ]


def _table_rows(judged: StudyResult) -> list[tuple[str, ...]]:
    from ptviz.experiments.replication.report import comparison_row

    return [
        (
            judged.study.id, judged.study.claim if place == 0 else "", *comparison_row(difference),
            str(len(difference.differences)), difference.verdict,
        )
        for place, difference in enumerate(judged.differences)
    ]  # fmt: skip


def _format_markdown(judged: list[StudyResult]) -> str:
    from ptviz.experiments.replication.report import comparison_row

    lines = [
        "| finding | here | compared, in points of accuracy or counts | difference | 95 % interval | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for one in judged:
        for place, difference in enumerate(one.differences):
            what, first, second, mean, limits = comparison_row(difference)
            claim = f"{one.study.claim} [{one.study.citation}]({one.study.url})" if place == 0 else ""
            verdict = f"**{one.verdict}**" if place == 0 else ""
            sides = f"{what}: {first} against {second}, {difference.verdict}"
            lines.append(f"| {claim} | {verdict} | {sides} | {mean} | {limits} | {len(difference.differences)} |")
    notes = [f"- {one.study.id}: {one.study.note}" for one in judged if one.study.note]
    return "\n".join([*lines, "", *notes])
