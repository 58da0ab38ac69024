"""The reports of several runs: a comparison of methods on one task, and transfer between tasks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from ptviz.analysis.comparison import compare_with_each, summarise_methods
from ptviz.analysis.comparison_text import headings, pair_headings, pair_rows, table_cells
from ptviz.analysis.statistics import INTERVAL_MARKS, MIN_SEEDS
from ptviz.analysis.text_tables import latex_table, markdown_table
from ptviz.experiments.run_results import with_row_scores
from ptviz.experiments.transfer_results import DEFAULT_ROWS
from ptviz.plots import (
    plot_comparison,
    plot_convergence,
    plot_pareto_front,
    plot_prompt_similarity,
    plot_seeds,
    plot_transfer,
)
from ptviz.plots.comparison import load_results_of
from ptviz.plots.method_style import method_title
from ptviz.plots.run_argument import RunOrId, get_runs
from ptviz.plots.run_tables import check_seeds_of_methods, settings_table
from ptviz.reports.bibliography import HOLM, TRANSFERABILITY, cite
from ptviz.reports.document import Code, Report, Section, Table
from ptviz.reports.run_report import figure_part, repeat_section
from ptviz.runs import Run
from ptviz.runs.store import summarise
from ptviz.tasks.metrics import Metric, shared_metric


def comparison_report(runs: Sequence[RunOrId]) -> Report:
    """Return the report of a comparison: runs of one method are its seeds.

    Raises:
        ValueError: for fewer than two finished runs, runs on different tasks or backbones, or runs of one method that
            share a seed or differ in other settings than the seed.
        StoreError: if a run does not exist or cannot be read.
    """
    found = [run for run in get_runs(runs) if run.status().state == "finished"]
    if len(found) < 2:
        raise ValueError(f"a comparison needs two or more finished runs; got {len(found)}")
    for name in ("task_names", "backbone"):
        if len(values := {getattr(run.config, name) for run in found}) > 1:
            what = name.removesuffix("_names")
            raise ValueError(f"{what}: a comparison is of runs on one {what}; got {', '.join(sorted(values))}")
    metric = shared_metric(run.metric for run in found)
    check_seeds_of_methods([summarise(run) for run in found])
    methods = list(dict.fromkeys(run.config.method for run in found))
    config = found[0].config
    subtitle = f"{', '.join(map(method_title, methods))} on {config.backbone}, task {config.task_names}"
    command = shlex.join(["ptviz", "report", *(run.id for run in found)])
    sections = [
        _comparison_results(found, metric),
        _comparison_figures(found),
        _differences(found),
        repeat_section(found, command),
        Section("Citations", parts=[Code("BibTeX", cite(methods, [HOLM]))]),
    ]
    return Report(f"Comparison of {len(methods)} method{'s' if len(methods) > 1 else ''}", subtitle, sections)


def _comparison_results(runs: list[Run], metric: Metric) -> Section:
    by_id = {run.id: run for run in runs}
    summaries = summarise_methods(with_row_scores(load_results_of(runs), by_id.__getitem__))
    columns, cells = headings(metric), [table_cells(one, metric) for one in summaries]
    best = summaries[0]
    sentences = [
        f"The best mean test {metric.noun} is {metric.format(best.mean)}, of {method_title(best.method)} over "
        f"{best.seed_count} seed{'s' if best.seed_count > 1 else ''}."
    ]
    note = (
        f"Intervals are Student's 95% intervals over seeds; those marked{INTERVAL_MARKS['rows']} are bootstrap "
        "intervals over the test examples of one seed, and another seed may differ."
    )
    parts: list[Table | Code] = [Table("Methods, the best mean first", columns, cells, note)]
    if len(summaries) > 1:
        pairs = [asdict(pair) | {"verdict": pair.verdict} for pair in compare_with_each(best, summaries[1:])]
        parts.append(
            Table(
                f"{method_title(best.method)} against the others, seed by seed",
                pair_headings(metric),
                pair_rows(pairs, metric),
                "p is that of the paired t test, corrected by Holm over these pairs.",
            )
        )
        if max(one.seed_count for one in summaries) < MIN_SEEDS:
            sentences.append(f"There are too few seeds for a verdict, which needs {MIN_SEEDS} of each method.")
    parts += [Code("For a paper, LaTeX", latex_table(columns, cells)), Code("Markdown", markdown_table(columns, cells))]
    return Section("Results", sentences, parts)


def _comparison_figures(runs: list[Run]) -> Section:
    figures = [
        figure_part("Validation over steps", plot_comparison, runs,
                    caption="Lines are means over seeds, bands the lowest and highest seed."),
        figure_part("Test scores of the seeds", plot_seeds, runs, caption="Bars are 95% intervals."),
        figure_part("Score against trainable parameters", plot_pareto_front, runs,
                    caption="The line joins the methods that no other beats in both."),
        figure_part("Convergence", plot_convergence, runs),
    ]  # fmt: skip
    return Section("Figures", parts=figures)


def _differences(runs: list[Run]) -> Section:
    rows = settings_table(runs)
    if not rows:
        return Section("Settings", ["The runs have the same settings."])
    columns = ["setting", *(run.id for run in runs)]
    return Section(
        "Settings", parts=[Table("Settings that differ", columns, [[row[c] for c in columns] for row in rows])]
    )


def transfer_report(runs: Sequence[RunOrId]) -> Report:
    """Return the report of transfer between the tasks of some runs, of the scores that `ptviz transfer` has measured.

    Raises:
        ValueError: for fewer than two runs, or prompts of different widths.
        StoreError: if a run does not exist or cannot be read.
    """
    found = get_runs(runs)
    if len(found) < 2:
        raise ValueError(f"transfer needs two or more runs; got {len(found)}")
    backbones = list(dict.fromkeys(run.config.backbone for run in found))
    tasks = list(dict.fromkeys(run.config.task_names for run in found))
    ids = [run.id for run in found]
    sections = [
        Section(
            "Similarity",
            ["Whether similar prompts transfer better is the question of Vu et al. (2022) and Su et al. (2022)."],
            [figure_part("Similarity of the prompts", plot_prompt_similarity, found)],
        ),
        Section(
            "Transfer without training",
            [
                f"Each prompt answers up to {DEFAULT_ROWS} validation examples of each task as it is. Empty cells were "
                "not measured."
            ],
            [figure_part("Measured transfer", plot_transfer, found)],
        ),
        repeat_section(
            found,
            "\n".join([
                *(f"ptviz transfer --backbone {shlex.quote(name)}" for name in backbones),
                shlex.join(["ptviz", "report", "--transfer", *ids]),
            ]),
        ),
        Section("Citations", parts=[Code("BibTeX", cite([run.config.method for run in found] + ["spot-single"],
                                                        [TRANSFERABILITY]))]),
    ]  # fmt: skip
    subtitle = f"{len(found)} prompts on {', '.join(backbones)}; tasks {', '.join(tasks)}"
    return Report("Transfer between tasks", subtitle, sections)
