"""``ptviz benchmark``: result files of PEFT's own benchmark as a race."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import JsonOption, UsageError, as_usage_error, markdown_table, print_json, print_table, write_csv

EXTRA_HEADINGS = ("lr", "accelerator")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("benchmark")(benchmark)


def benchmark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILES", help="Result files (JSON), or folders of them.")],
    path: Annotated[Path | None, typer.Option("--csv", metavar="PATH", help="Also write the table here.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Answer with a Markdown table.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Open result files of PEFT's benchmark on MetaMathQA as a race.

    They lie in PEFT's repository under method_comparison/MetaMathQA/results. What cannot be read is told and left out.
    """
    from ptviz.analysis import peft_benchmark as peft
    from ptviz.analysis.comparison import TABLE_COLUMNS, pareto_front, summarise_methods
    from ptviz.checkpoints.benchmark_files import read_benchmark_files
    from ptviz.cli import compare

    with as_usage_error(OSError):
        files, unread = read_benchmark_files(paths)
    results, refused = peft.parse_results(files)
    problems = [*unread, *refused]
    if not results:
        raise UsageError(problems[0] if problems else "expected result files (*.json); these folders hold none")
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    rows, remarks = peft.benchmark_rows(results), peft.comparability_notes(results)
    order = summarise_methods(result.run_result for result in results)
    best = {order[place].method for place in pareto_front([one.trained for one in order], [one.mean for one in order])}
    if path is not None:
        write_csv(path, (*TABLE_COLUMNS, *peft.EXTRA_COLUMNS), rows)
    if as_json:
        curves = [
            {
                "method": r.run_result.method,
                "seed": r.run_result.seed,
                "evaluated": r.run_result.evaluated,
                "accuracies": r.run_result.accuracies,
            }
            | {"trained_steps": r.loss_steps, "losses": r.losses}
            for r in results
        ]
        print_json({
            "results": [row | {"front": row["method"] in best} for row in rows], "curves": curves, "remarks": remarks,
            "problems": problems,
        })  # fmt: skip
        return
    headings: tuple[str, ...] = (*compare.HEADINGS, *EXTRA_HEADINGS, "front")
    told = [
        (*compare.table_cells(one), "-" if row["lr"] is None else f"{row['lr']:g}", str(row["accelerator"] or "-"),
         "yes" if one.method in best else "")
        for one, row in zip(order, rows, strict=True)
    ]  # fmt: skip
    # Columns that no file fills would only be in the way.
    full = [place for place in range(len(headings)) if any(line[place] != "-" for line in told)]
    headings, told = tuple(headings[place] for place in full), [tuple(line[place] for place in full) for line in told]
    if markdown:
        print(markdown_table(headings, told))
    else:
        print_table(headings, told, parted=True)
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
