"""``ptviz findings``: what the papers found, tried again here, and whether it held."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import BadInput, Json, RunFailed, bad_input, emit, progress_console, quietly, table
from ptviz.cli.progress import Following, Stopping

if TYPE_CHECKING:
    from ptviz.experiments.replication import Finding, Judged, Record
    from ptviz.training import Event

HEADINGS = ("finding", "claim", "compared", "first", "second", "difference", "95 % interval", "seeds", "verdict")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("findings")(findings)


def findings(
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Train what this finding still lacks; `all` for all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="With --run: seeds 0, 1, 2, ...")] = 3,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep results here instead.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Answer with a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Show which published findings hold here, with effect sizes and intervals.

    Each is a small experiment whose runs are kept like any other, and whose results are recorded: only what is missing
    is trained. Ctrl-C stops it, and the same command goes on from there.
    """
    with quietly(), bad_input(OSError):
        from ptviz.experiments.replication import FINDINGS, Record

        known = {finding.id: finding for finding in FINDINGS}
        if run not in (None, "all", *known):
            raise BadInput(f"--run: expected `all`, or one of {', '.join(known)}; got {run!r}")
        kept = Record(record)
    stopped = False
    if run is not None:
        chosen = list(FINDINGS) if run == "all" else [known[run]]
        stopped = _run(chosen, kept, tuple(range(seeds)))
        shown = chosen
    else:
        shown = list(FINDINGS)
    judged = [kept.judged(finding) for finding in shown]
    if as_json:
        emit([_plain(one) | {"arms": _arms(one, kept)} for one in judged])
    elif markdown:
        print(_markdown(judged))
    else:
        table(HEADINGS, [row for one in judged for row in _rows(one)])
    if stopped:
        typer.echo("ptviz: stopped. Go on: the same command again", err=True)
        raise typer.Exit(130)


def _run(chosen: list[Finding], record: Record, seeds: tuple[int, ...]) -> bool:
    """Train and measure what is missing; whether it was interrupted."""
    from ptviz.engine.model_cache import Warm
    from ptviz.runs import Run, Store
    from ptviz.runs.atomic_io import StoreError

    console = progress_console()
    store, warm = Store(), Warm()
    following: list[Following] = []

    def begun(made: Run) -> None:
        _end(following)
        following.append(Following(made.id, made.config.training.steps, console))
        following[0].__enter__()

    def watch(event: Event) -> None:
        if following and event.kind in ("stage", "step"):
            following[0].watch(event)

    with quietly(), Stopping() as stopping:
        try:
            for finding in chosen:
                with bad_input():
                    missing = record.missing(finding, seeds)
                console.print(f"{finding.id}: {len(missing)} runs to train or measure", markup=False, highlight=False)
                filled = record.fill(missing, store, warm, watch, stopping.reason, begun)
                done = sum(1 for _ in filled)
                if done < len(missing):
                    return True
        except StoreError as error:
            raise RunFailed(str(error)) from error
        finally:
            _end(following)
    return False


def _end(following: list[Following]) -> None:
    for one in following:
        one.__exit__(None, None, None)
    following.clear()


def _plain(judged: Judged) -> dict[str, Any]:
    finding = judged.finding
    return {
        "id": finding.id, "claim": finding.claim, "citation": finding.citation, "url": finding.url,
        "task": finding.task, "backbone": finding.backbone, "steps": finding.steps, "note": finding.note,
        "seeds": judged.seeds, "verdict": judged.verdict,
        "differences": [asdict(difference) for difference in judged.differences],
    }  # fmt: skip


def _arms(judged: Judged, record: Record) -> list[dict[str, Any]]:
    """What every arm was measured at, by seed."""
    finding = judged.finding
    return [
        {"arm": arm.label, "method": arm.method, "metric": metric, "values": record.values(finding, arm, metric)}
        for arm, metric in finding.measured()
    ]


def _rows(judged: Judged) -> list[tuple[str, ...]]:
    from ptviz.experiments.replication.report import told

    return [
        (
            judged.finding.id, judged.finding.claim if place == 0 else "", *told(difference),
            str(len(difference.differences)), difference.verdict,
        )
        for place, difference in enumerate(judged.differences)
    ]  # fmt: skip


def _markdown(judged: list[Judged]) -> str:
    from ptviz.experiments.replication.report import told

    lines = [
        "| finding | here | compared, in points of accuracy or counts | difference | 95 % interval | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for one in judged:
        for place, difference in enumerate(one.differences):
            what, first, second, mean, limits = told(difference)
            claim = f"{one.finding.claim} [{one.finding.citation}]({one.finding.url})" if place == 0 else ""
            verdict = f"**{one.verdict}**" if place == 0 else ""
            sides = f"{what}: {first} against {second}, {difference.verdict}"
            lines.append(f"| {claim} | {verdict} | {sides} | {mean} | {limits} | {len(difference.differences)} |")
    notes = [f"- {one.finding.id}: {one.finding.note}" for one in judged if one.finding.note]
    return "\n".join([*lines, "", *notes])
