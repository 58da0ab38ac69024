"""``ptviz benchmark``: result files of PEFT's own benchmark as a race."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import BadInput, Json, bad_input, emit, markdown_table, table, write_csv

HEADINGS = ("lr", "accelerator")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("benchmark")(benchmark)


def benchmark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILES", help="Result files (JSON), or folders of them.")],
    path: Annotated[Path | None, typer.Option("--csv", metavar="PATH", help="Also write the table here.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Answer with a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Open result files of PEFT's benchmark on MetaMathQA as a race.

    They lie in PEFT's repository under method_comparison/MetaMathQA/results. What cannot be read is told and left out.
    """
    from ptviz.analysis import peft_benchmark as peft
    from ptviz.analysis.comparison import COLUMNS, front, standings
    from ptviz.checkpoints.benchmark_files import read_results
    from ptviz.cli import compare

    with bad_input(OSError):
        files, unread = read_results(paths)
    results, refused = peft.results_of(files)
    problems = [*unread, *refused]
    if not results:
        raise BadInput(problems[0] if problems else "expected result files (*.json); these folders hold none")
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    rows, remarks = peft.table(results), peft.remarks(results)
    order = standings(result.lap for result in results)
    best = {order[place].method for place in front([one.trained for one in order], [one.mean for one in order])}
    if path is not None:
        write_csv(path, (*COLUMNS, *peft.COLUMNS), rows)
    if as_json:
        curves = [
            {"method": r.lap.method, "seed": r.lap.seed, "evaluated": r.lap.evaluated, "accuracies": r.lap.accuracies}
            | {"trained_steps": r.trained_steps, "losses": r.losses}
            for r in results
        ]
        emit({
            "results": [row | {"front": row["method"] in best} for row in rows], "curves": curves, "remarks": remarks,
            "problems": problems,
        })  # fmt: skip
        return
    headings: tuple[str, ...] = (*compare.HEADINGS, *HEADINGS, "front")
    told = [
        (*compare.cells(one), "-" if row["lr"] is None else f"{row['lr']:g}", str(row["accelerator"] or "-"),
         "yes" if one.method in best else "")
        for one, row in zip(order, rows, strict=True)
    ]  # fmt: skip
    # Columns that no file fills would only be in the way.
    full = [place for place in range(len(headings)) if any(line[place] != "-" for line in told)]
    headings, told = tuple(headings[place] for place in full), [tuple(line[place] for place in full) for line in told]
    if markdown:
        print(markdown_table(headings, told))
    else:
        table(headings, told, parted=True)
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
