"""``ptviz errors``: what a run gets wrong on its test examples, and what its prompt fixed and broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli import options
from ptviz.cli.output import (
    JsonOption,
    as_usage_error,
    format_percent,
    latex_table,
    markdown_table,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.runs import RunId

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASS_HEADINGS = ("class", "examples", "precision", "recall", "F1", "zero-shot recall")
_TEXT_HEADINGS = ("text", "label", "predicted", "confidence", "zero-shot")
_WRITTEN_HEADINGS = ("input", "target", "output", "score", "zero-shot", "zero-shot score")


def errors(
    id: RunId,
    zero_shot: Annotated[
        bool,
        typer.Option("--zero-shot", help="Add the answers without the prompt to a run of an earlier version."),
    ] = False,
    most: Annotated[int, typer.Option("--texts", min=0, max=1000, help="Texts fixed and broken to print.")] = 5,
    markdown: options.MarkdownOption = False,
    latex: options.LatexOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the errors of a finished run on its test examples.

    Prints what the prompt fixed and broke against zero-shot, the most confident first; the expected calibration error;
    and precision, recall and F1 of each class. Of a run on several tasks, RUN@TASK is one.
    """
    options.check_one_form(as_json, markdown, latex)
    from ptviz.plots.prediction_errors import error_summary
    from ptviz.plots.predictions import has_zero_shot, read_predictions, select_predictions
    from ptviz.runs import Store

    with as_usage_error(OSError):
        run = Store().get(id)
        if zero_shot:
            _add_zero_shot(id)
        data = {"run": run.id, **error_summary(run)}
        rows = read_predictions(run)
    changed = {
        change: select_predictions(rows, change=change, order="highest first")[:most] if has_zero_shot(rows) else []
        for change in ("fixed", "broken")
    }
    if as_json:
        print_json({**data, **changed})
        return
    table = _print_latex if latex else _print_markdown if markdown else print_table
    for line in _summary_lines(data):
        print_line(line)
    if data["classes"]:
        print_line("")
        table(_CLASS_HEADINGS, [_class_cells(one) for one in data["classes"]])
    for change, found in changed.items():
        if found:
            written = "output" in found[0]
            score = {"fixed": "higher", "broken": "lower"}[change]
            print_line(
                f"\n{score} score than zero-shot, the highest first:"
                if written
                else f"\n{change} by the prompt, the most confident first:"
            )
            table(_WRITTEN_HEADINGS if written else _TEXT_HEADINGS, [_text_cells(row) for row in found])


def _add_zero_shot(id: str) -> None:
    from ptviz.engine.model_cache import ModelCache
    from ptviz.engine.predictions import add_zero_shot
    from ptviz.runs import Store
    from ptviz.runs.target_run import TARGET_MARK

    with progress_console().status("answering without the prompt"), quiet_libraries():
        add_zero_shot(Store().get(id.partition(TARGET_MARK)[0]), ModelCache())


def _print_markdown(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print_line(markdown_table(headings, rows))


def _print_latex(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print_line(latex_table(headings, rows))


def _summary_lines(data: dict[str, Any]) -> list[str]:
    count = data["examples"]
    writes = data["calibration"] is None  # of generated texts alone
    counted = "test outputs equal a reference" if writes else "test examples"
    lines = [f"right       {data['right']} of {count} {counted} ({data['right'] / count:.1%})"]
    if data["zero_shot_right"] is None:
        lines.append("zero-shot   not recorded for this run; --zero-shot adds it")
    else:
        lines.append(f"zero-shot   {data['zero_shot_right']} of {count} ({data['zero_shot_right'] / count:.1%})")
    if scores := data["score_changes"]:
        lines += [
            f"higher      {scores['higher']} score higher than without the prompt",
            f"lower       {scores['lower']} score lower than without the prompt",
        ]
    if changes := data["changes"]:
        lines += [
            f"fixed       {changes['fixed']} wrong without the prompt, right with it",
            f"broken      {changes['broken']} right without the prompt, wrong with it",
            f"p           {changes['p']:.2g} (McNemar's exact test, two-sided)",
        ]
    for name, found in (data["calibration"] or {}).items():
        lines.append(
            f"calibration expected error {found['error']:.1%} {name}, {found['number_of_bins']} bins of equal width; "
            f"{found['perfect']:.1%} on average for a perfectly calibrated model on as many examples"
        )
    return lines


def _class_cells(one: dict[str, Any]) -> tuple[str, ...]:
    shares = (format_percent(one[name]) for name in ("precision", "recall", "f1", "zero_shot_recall"))
    return (one["name"], str(one["support"]), *shares)


def _text_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "output" in row:
        scores = format_percent(row["score"]), format_percent(row["zero_shot_score"])
        return row["input"], row["target"], row["output"], scores[0], row["zero_shot"], scores[1]
    return row["text"], row["label"], row["predicted"], format_percent(row["confidence"]), row["zero_shot"]
