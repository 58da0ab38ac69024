"""``ptviz benchmark``: compare the methods of PEFT's own benchmark, from its result files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import CsvOption, LatexOption, MarkdownOption, check_one_form
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    latex_table,
    markdown_table,
    print_json,
    print_line,
    print_table,
    write_csv,
)

if TYPE_CHECKING:
    from ptviz.analysis.peft_benchmark import BenchmarkResult

EXTRA_HEADINGS = ("lr", "accelerator")


def benchmark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILES", help="Result files (JSON), or folders of them.")],
    csv_path: CsvOption = None,
    markdown: MarkdownOption = False,
    latex: LatexOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare methods from result files of PEFT's benchmark on MetaMathQA.

    The files are in PEFT's repository under method_comparison/MetaMathQA/results. Unreadable files are reported and
    left out.
    """
    check_one_form(as_json, markdown, latex)
    from ptviz.analysis import peft_benchmark as peft
    from ptviz.analysis.comparison import TABLE_COLUMNS, pareto_front, summarise_methods
    from ptviz.analysis.comparison_text import HEADINGS, table_cells
    from ptviz.analysis.peft_benchmark_files import read_benchmark_files

    with as_usage_error(OSError):
        files, unread = read_benchmark_files(paths)
    results, refused = peft.parse_results(files)
    problems = [*unread, *refused]
    if not results:
        raise UsageError(problems[0] if problems else "expected result files (*.json); these folders contain none")
    for problem in problems:
        print_line(f"note: {problem}", error=True)
    rows, remarks = peft.benchmark_rows(results), peft.comparability_notes(results)
    summaries = summarise_methods(result.run_result for result in results)
    front = pareto_front([summary.trained for summary in summaries], [summary.mean for summary in summaries])
    best = {summaries[index].method for index in front}
    if csv_path is not None:
        write_csv(csv_path, (*TABLE_COLUMNS, *peft.EXTRA_COLUMNS), rows)
    if as_json:
        print_json(
            {
                "results": [row | {"front": row["method"] in best} for row in rows],
                "curves": [_curve_json(result) for result in results],
                "remarks": remarks,
                "problems": problems,
            }
        )
        return
    headings: tuple[str, ...] = (*HEADINGS, *EXTRA_HEADINGS, "front")
    cells = [
        (
            *table_cells(summary),
            "-" if row["lr"] is None else f"{row['lr']:g}",
            str(row["accelerator"] or "-"),
            "yes" if summary.method in best else "",
        )
        for summary, row in zip(summaries, rows, strict=True)
    ]
    # Leave out the columns that no file fills.
    filled = [index for index in range(len(headings)) if any(line[index] != "-" for line in cells)]
    headings, cells = tuple(headings[i] for i in filled), [tuple(line[i] for i in filled) for line in cells]
    if markdown:
        print_line(markdown_table(headings, cells))
    elif latex:
        print_line(latex_table(headings, cells))
    else:
        print_table(headings, cells, split=True)
    for remark in remarks:
        print_line(f"note: {remark}", error=True)


def _curve_json(result: BenchmarkResult) -> dict[str, Any]:
    run = result.run_result
    return {
        "method": run.method,
        "seed": run.seed,
        "evaluated": run.evaluated,
        "accuracies": run.accuracies,
        "trained_steps": result.loss_steps,
        "losses": result.losses,
    }
