"""``ptviz report``: a run, a comparison or a transfer study as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptviz.atomic_files import atomic_file
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    print_json,
    print_line,
    progress_console,
    quiet_libraries,
)

if TYPE_CHECKING:
    from ptviz.reports.document import Report


def report(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUNS", help="Ids of runs: see `ptviz runs`. One run, or several.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Also the runs that fit this filter, such as 'task=trec6 state=finished'.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare the runs; default for several.")] = False,
    transfer: Annotated[bool, typer.Option("--transfer", help="Report transfer between the runs' tasks.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: named after the run.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a report as one HTML file that needs nothing else; a browser prints it as PDF.

    It holds settings, figures with their data, sentences, commands that repeat it, versions and BibTeX. Several runs
    are compared, runs of one method being its seeds.
    """
    if compare and transfer:
        raise UsageError("--compare and --transfer are different reports; give one of them")
    names = _find_runs(ids or [], where)
    kind = "transfer" if transfer else "comparison" if compare or len(names) > 1 else names[0]
    path = output or Path(f"{kind.replace('@', '-')}-report.html")
    with progress_console().status("drawing"), quiet_libraries(), as_usage_error(OSError):
        html = _make(names, compare or len(names) > 1, transfer).to_html()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft:
            draft.write_text(html, encoding="utf-8", errors="replace", newline="")
    if as_json:
        print_json({"runs": names, "path": str(path), "bytes": path.stat().st_size})
        return
    print_line(f"written to {path}")


def _find_runs(ids: list[str], where: str | None) -> list[str]:
    from ptviz.runs import Store
    from ptviz.runs.run_filters import filter_summaries

    names = list(dict.fromkeys(ids))
    if where is not None:
        with as_usage_error(OSError):
            names += [one.id for one in filter_summaries(Store().list(), where) if one.id not in names]
    if not names:
        raise UsageError("expected the id of a run, or a filter --where that fits one: see `ptviz runs`")
    return names


def _make(names: list[str], compare: bool, transfer: bool) -> Report:
    from ptviz.reports.run_report import run_report
    from ptviz.reports.several_runs import comparison_report, transfer_report

    if transfer:
        return transfer_report(names)
    return comparison_report(names) if compare else run_report(names[0])
