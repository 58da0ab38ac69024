"""``ptviz compare``: train several methods over several seeds and compare their results."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli import options
from ptviz.cli.options import (
    check_one_form,
    own_notes,
    parse_hyperparameters,
    print_notes,
    with_executor_options,
    with_table_options,
)
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    format_score,
    latex_table,
    markdown_table,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
    write_csv,
)
from ptviz.cli.progress import GracefulStop
from ptviz.cli.wait_for_runs import describe_plan, exit_if_incomplete, print_message, wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from ptviz.analysis.comparison import MethodSummary, RunResult
    from ptviz.analysis.ensemble import EnsembleScores
    from ptviz.experiments.planned_runs import PlannedRun
    from ptviz.experiments.reference_record import Kind
    from ptviz.runs import RunConfig
    from ptviz.tasks.metrics import Metric

REFERENCE_HEADINGS = ("reference", "test", "sd", "trained", "learning rate", "seconds", "seeds")
_REFERENCES_TITLE = "References, which train the backbone itself and are not methods of the survey"
ENSEMBLE_HEADINGS = ("method", "mean", "best", "vote", "mean probability", "prompts")


@with_table_options("columns")
@with_executor_options("make_executor")
def compare(
    *,
    methods: Annotated[str, typer.Option(help="all, or names separated by commas: see `ptviz methods`.")] = "all",
    task: Annotated[str, typer.Option(help="One task: a name, a file (CSV, TSV, JSON, Parquet), or hub:ID.")] = "trec6",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Number of seeds: 0, 1, 2, ...")] = 3,
    backbone: options.BackboneOption = "minilm-l6",
    steps: Annotated[int, typer.Option(min=1, help="Training steps on the task.")] = 200,
    sets: options.SetOption = None,
    columns: dict[str, Any],
    make_executor: Any,
    references: Annotated[
        str,
        typer.Option(
            metavar="lora,full",
            help="Also train the backbone itself on a copy, as reference lines: LoRA by PEFT, full fine-tuning.",
        ),
    ] = "",
    csv_path: options.CsvOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs; train nothing.")] = False,
    markdown: options.MarkdownOption = False,
    latex: options.LatexOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare methods on one task.

    Runs that are already trained with the same settings are reused; the worker trains the others one after another. A
    hyperparameter given with --set applies to every method that has it. Ctrl-C stops the runs; the same command
    continues them.
    """
    from ptviz.analysis.comparison import TABLE_COLUMNS, summarise_methods
    from ptviz.experiments.ensemble import score_methods
    from ptviz.experiments.planned_runs import find_runs, start_runs
    from ptviz.experiments.reference_record import parse_kinds
    from ptviz.experiments.run_results import load_results, with_row_scores

    check_one_form(as_json, markdown, latex)
    console = progress_console()
    with quiet_libraries(), console.status("loading the task and the runs"):
        with as_usage_error():
            kinds = parse_kinds(references) if references else ()
        configs = _make_configs(methods, seeds, sets, task, backbone, steps, columns)
        executor = make_executor()
        with as_usage_error(OSError):
            planned = find_runs(executor.store, configs)
    reused = {entry.run for entry in planned if entry.state == "finished"}
    print_message(console, describe_plan(planned))
    if dry_run:
        _print_dry_run(planned, _find_references(kinds, _reference_configs(configs)), as_json)
        return
    started = time.monotonic()
    # Before the first run is queued, so that Ctrl-C stops every queued run.
    with GracefulStop() as stop:
        with quiet_libraries(), as_usage_error(OSError):
            planned = start_runs(executor, planned)
        planned = wait_for_runs(executor, planned, stop, console, _run_label)
    results = with_row_scores(load_results(executor.store, planned), executor.store.get)
    summaries = summarise_methods(results)
    ensembles = score_methods(results, executor.store.get)
    result = _comparison_json(planned, results, summaries, reused, time.monotonic() - started, ensembles)
    if kinds and not stop.requested:
        result["references"] = _train_references(kinds, _reference_configs(configs), console)
    if csv_path is not None:
        write_csv(csv_path, TABLE_COLUMNS, [*result["methods"], *map(_reference_csv_row, result.get("references", ()))])
    if as_json:
        print_json(result)
    elif markdown:
        print_line(_format_markdown(result, summaries))
    elif latex:
        print_line(_format_latex(result, summaries))
    else:
        _print_comparison(result, summaries)
    exit_if_incomplete(planned, stop.requested, _run_label)


def _reference_configs(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return a config for each seed of a comparison: a reference uses all of it but the method."""
    return [one for one in configs if one.method == configs[0].method]


def _find_references(kinds: Sequence[Kind], configs: Sequence[RunConfig]) -> list[tuple[str, int, str, str]]:
    """Return the references as rows of a dry run: kind, seed, and whether they were trained before."""
    from ptviz.experiments.reference_record import ReferenceRecord

    with as_usage_error(OSError):
        record = ReferenceRecord()
    return [
        (kind, one.training.seed, "missing" if record.find(kind, one) is None else "finished", "")
        for kind in kinds
        for one in configs
    ]


def _train_references(kinds: Sequence[Kind], configs: Sequence[RunConfig], console: Console) -> list[dict[str, Any]]:
    """Return the results of the references, on the seeds of the comparison; missing ones are trained here."""
    from ptviz.experiments.lora_and_full_tuning import get_reference
    from ptviz.experiments.reference_record import ReferenceRecord, summarise

    with quiet_libraries(), as_usage_error(OSError):
        record = ReferenceRecord()
        return summarise(
            get_reference(record, kind, config, lambda line: print_message(console, f"training {line}"))
            for kind in kinds
            for config in configs
        )


def _make_configs(
    methods: str,
    seeds: int,
    sets: list[str] | None,
    task: str,
    backbone: str,
    steps: int,
    columns: dict[str, Any],
) -> tuple[RunConfig, ...]:
    """Return the config of every run, once the backbone, methods, hyperparameters and task are checked."""
    from ptviz import backbones
    from ptviz.engine.check_table import check_table_labels
    from ptviz.engine.model_cache import load_run_task
    from ptviz.experiments.comparison import make_configs, parse_methods
    from ptviz.runs import RunConfig
    from ptviz.training import TrainConfig

    several = [part.strip() for part in task.split(",")]
    if len(several) > 1 and not Path(task).exists():
        raise UsageError(
            f"--task: expected one task; got {len(several)} ({', '.join(several)}). A comparison is of methods on one "
            "task: run it once for each. A run on several tasks is trained with: ptviz train mpt --task "
            f"{','.join(several)}"
        )
    named = {info.name: info for info in backbones.list_backbones()}
    if backbone in named and not named[backbone].available:
        raise UsageError(f"backbone {backbone} is not installed; get it with: {named[backbone].install_command}")
    with as_usage_error(OSError):
        base = RunConfig(backbone, task, training=TrainConfig(steps=steps), **columns)
        configs = make_configs(parse_methods(methods), range(seeds), base, parse_hyperparameters(sets))
        print_notes(own_notes(load_run_task(base)))
        check_table_labels(base)
    return configs


def _print_dry_run(
    planned: Sequence[PlannedRun], references: Sequence[tuple[str, int, str, str]], as_json: bool
) -> None:
    rows = [*((e.config.method, e.config.training.seed, e.state, e.run or "") for e in planned), *references]
    if as_json:
        print_json([dict(zip(("method", "seed", "state", "run"), row, strict=True)) for row in rows])
    else:
        print_table(("method", "seed", "state", "run"), rows)


def _run_label(entry: PlannedRun) -> str:
    return f"{entry.config.method}, seed {entry.config.training.seed}"


def _comparison_json(
    planned: Sequence[PlannedRun],
    results: Sequence[RunResult],
    summaries: Sequence[MethodSummary],
    reused: set[str | None],
    seconds: float,
    ensembles: Mapping[str, EnsembleScores],
) -> dict[str, Any]:
    from ptviz.analysis.comparison import compare_with_each, table_rows
    from ptviz.tasks.metrics import recorded_metric, shared_metric

    config = planned[0].config
    numbers = {result.run: {k: v for k, v in asdict(result).items() if k != "rows"} for result in results}
    runs = [
        {"method": e.config.method, "seed": e.config.training.seed, "state": e.state, "reused": e.run in reused}
        | {"run": e.run}
        | numbers.get(str(e.run), {})
        for e in planned
    ]
    pairs = compare_with_each(summaries[0], summaries[1:]) if summaries else ()
    return {
        "backbone": config.backbone,
        "task": config.task,
        "metric": shared_metric(recorded_metric(result.metric) for result in results).name,
        "steps": config.training.steps,
        "reused": sum(run["reused"] for run in runs),
        "wall_seconds": seconds,
        "methods": table_rows(summaries),
        "ensembles": {method: asdict(scores) for method, scores in ensembles.items()},
        "against_the_first": [asdict(pair) | {"verdict": pair.verdict} for pair in pairs],
        "runs": runs,
    }


def _print_comparison(result: dict[str, Any], summaries: Sequence[MethodSummary]) -> None:
    from ptviz.analysis.comparison_text import headings, pair_headings, pair_rows, table_cells
    from ptviz.analysis.statistics import MIN_SEEDS
    from ptviz.tasks.metrics import recorded_metric

    metric = recorded_metric(result["metric"])
    if summaries:
        print_table(headings(metric), [table_cells(summary, metric) for summary in summaries], split=True)
    if len(summaries) > 1 and sys.stdout.isatty():  # A pipe gets one table; --json has both.
        print_line(f"\n{summaries[0].method} against the others, seed by seed:")
        print_table(pair_headings(metric), pair_rows(result["against_the_first"], metric))
    if result["ensembles"] and sys.stdout.isatty():
        print_line("\nThe vote of a method's prompts, one for each seed:")
        print_table(ENSEMBLE_HEADINGS, _ensemble_rows(result, metric))
    if result.get("references"):
        print_line(f"\n{_REFERENCES_TITLE}:")
        print_table(REFERENCE_HEADINGS, _reference_rows(result, metric))
    if result["reused"]:
        print_line(f"{result['reused']} of {len(result['runs'])} runs were already trained.", error=True)
    if len(summaries) > 1 and max(summary.seed_count for summary in summaries) < MIN_SEEDS:
        print_line(f"Too few seeds for a verdict: it needs {MIN_SEEDS} (--seeds {MIN_SEEDS}).", error=True)
    if _has_row_intervals(summaries):
        print_line("Intervals marked (examples) are over test examples of one seed; another may differ.", error=True)


def _format_latex(result: dict[str, Any], summaries: Sequence[MethodSummary]) -> str:
    from ptviz.analysis.comparison_text import headings, pair_headings, pair_rows, table_cells
    from ptviz.tasks.metrics import recorded_metric

    metric = recorded_metric(result["metric"])
    caption = f"{_title(result)} Means over seeds with Student's 95% intervals."
    if _has_row_intervals(summaries):
        caption += " Intervals marked (examples) are over the test examples of one seed."
    parts = [latex_table(headings(metric), [table_cells(one, metric) for one in summaries], caption=caption)]
    if len(summaries) > 1:
        rows = pair_rows(result["against_the_first"], metric)
        caption = f"{summaries[0].method} against the others, seed by seed; p corrected by Holm."
        parts.append(latex_table(pair_headings(metric), rows, caption=caption))
    if result.get("references"):
        parts.append(latex_table(REFERENCE_HEADINGS, _reference_rows(result, metric), caption=_REFERENCES_TITLE))
    return "\n\n".join(parts)


def _title(result: dict[str, Any]) -> str:
    return f"{result['task']} on {result['backbone']}, {result['steps']} steps, {len(result['runs'])} runs."


def _format_markdown(result: dict[str, Any], summaries: Sequence[MethodSummary]) -> str:
    from ptviz.analysis.comparison_text import headings, pair_headings, pair_rows, table_cells
    from ptviz.tasks.metrics import recorded_metric

    metric = recorded_metric(result["metric"])
    parts = [_title(result), markdown_table(headings(metric), [table_cells(summary, metric) for summary in summaries])]
    if len(summaries) > 1:
        parts.append(f"{summaries[0].method} against the others, seed by seed:")
        parts.append(markdown_table(pair_headings(metric), pair_rows(result["against_the_first"], metric)))
    if result.get("references"):
        parts.append(f"{_REFERENCES_TITLE}:")
        parts.append(markdown_table(REFERENCE_HEADINGS, _reference_rows(result, metric)))
    return "\n\n".join(parts)


def _has_row_intervals(summaries: Sequence[MethodSummary]) -> bool:
    """Return whether an interval is over the test examples of one seed instead of over seeds."""
    return any(summary.interval is not None and summary.interval.over == "rows" for summary in summaries)


def _reference_csv_row(reference: dict[str, Any]) -> dict[str, Any]:
    """Return a reference as a row of the table of methods; what is not measured of it is empty."""
    named = {"method": reference["reference"], "seeds": len(reference["seeds"]), "test_mean": reference["mean"]}
    return {**named, "test_sd": reference["sd"], "trained": reference["trained"], "seconds": reference["seconds"]}


def _reference_rows(result: dict[str, Any], metric: Metric) -> list[tuple[str, ...]]:
    """Return the rows of the references: score, spread, trained parameters, learning rate and time."""
    from ptviz.experiments.reference_record import TITLES

    return [
        (
            TITLES[own["reference"]],
            format_score(metric, own["mean"]),
            format_score(metric, own["sd"]),
            format(own["trained"], ","),
            f"{own['lr']:g}{'' if own['tuned'] else ' (not tuned)'}",
            format(own["seconds"], ".0f"),
            str(len(own["seeds"])),
        )
        for own in result["references"]
    ]


def _ensemble_rows(result: dict[str, Any], metric: Metric) -> list[tuple[str, ...]]:
    """Return mean, best member, vote and mean probability of the ensemble of each method."""
    return [
        (
            method,
            format_score(metric, sum(own["members"]) / len(own["members"])),
            format_score(metric, max(own["members"])),
            format_score(metric, own["vote"]),
            format_score(metric, own["mean_probability"]),
            str(len(own["members"])),
        )
        for method, own in result["ensembles"].items()
    ]
