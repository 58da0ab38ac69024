"""Result files of PEFT's benchmark: table, curves, accuracy against cost.

Names in the files are untrusted: they are shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.analysis import peft_benchmark as benchmark
from ptviz.analysis.comparison import TABLE_COLUMNS, summarise_methods
from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.peft_benchmark import BenchmarkResult
from ptviz.analysis.peft_benchmark_files import read_benchmark_files
from ptviz.experiments.sample_peft_results import benchmark_samples
from ptviz.figures.comparison import COST_LABELS
from ptviz.plots import plot_peft_benchmark, plot_peft_benchmark_curves, plot_peft_benchmark_panels
from ptviz.plots.cache import cached_by_signature, last_modified
from ptviz.plots.method_style import method_title
from ptviz.plots.peft_benchmark import MAX_CURVES, select_methods
from ptviz.ui.classroom import hide_folders
from ptviz.ui.compare import methods_results
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.open import checkpoint
from ptviz.ui.recorded_runs import shows_recorded

CHARTS = ("Against cost", "Validation", "Training loss", "Side by side")
_UPLOAD_HELP = (
    "JSON files from the benchmark's results folder; they stay on this machine and nothing in them is executed"
)
_PATH_LABEL = "or the path of a file or a folder on this machine"
_PATH_EXAMPLE = "/home/me/peft/method_comparison/MetaMathQA/results"
_CAPTIONS = {
    "Validation": "How to read it: one line per experiment, validation accuracy as recorded in the file; methods keep "
    "their colour, their variants differ in dash and symbol. Click a name to hide a line, double-click to show only "
    "that one.",
    "Training loss": "How to read it: one line per experiment, the mean training loss since the previous point. A "
    "lower loss is not better by itself: what counts is the accuracy on unseen examples.",
    "Side by side": "How to read it: one panel per experiment, validation accuracy, all on the same axes.",
    "Against cost": "How to read it: up is better, left is cheaper. No experiment shown is both cheaper and better "
    "than one on the grey line.",
}


def results_input() -> Path | None:
    """Return the path of the uploaded result files, or of a file or folder; the path is in the page's address."""
    return checkpoint.checkpoint_input("results", "Drop result files here", _UPLOAD_HELP, _PATH_LABEL, _PATH_EXAMPLE)


def load_results(path: Path) -> tuple[list[BenchmarkResult], list[str]]:
    """Return the results at a path and what could not be read; they are read again only if something changed.

    Raises:
        CheckpointError: if there is nothing at the path, or too much.
    """

    def read() -> tuple[list[BenchmarkResult], list[str]]:
        files, unread = read_benchmark_files([path])
        results, refused = benchmark.parse_results(files)
        return results, [*unread, *refused]

    return cached_by_signature(("benchmark", str(path), last_modified(path)), read)


def render_sample() -> None:
    """Show ptviz's recorded runs as such result files, until the reader opens some."""
    if not shows_recorded() or (folder := benchmark_samples()) is None:
        return
    st.markdown(
        "**Recorded meanwhile:** ptviz's own runs of every method on trec6 with MiniLM, three seeds, written in the "
        "layout of these files. They are not results of PEFT's benchmark, which trains a language model on mathematics."
    )
    render_benchmark(folder)


def render_benchmark(path: Path) -> None:
    """Show everything about the results at a path."""
    results, problems = load_results(path)
    if problems:
        with st.expander(f"{len(problems)} notes on the files", icon=":material/warning:", expanded=not results):
            st.text("\n".join(problems))
    if not results:
        st.caption("No result could be read there: choose the JSON files of the benchmark's results folder.")
        return
    kinds = sorted({result.kind for result in results})
    picked = st.multiselect("Methods", kinds, key="kinds", placeholder="all") if len(kinds) > 1 else []
    chosen = select_methods(results, picked)
    _render_summary(chosen, path)
    chart = st.segmented_control("Chart", CHARTS, default=CHARTS[0], key="picture", required=True, bind="query-params")
    _render_chart(str(chart), results, picked, path)
    for note in benchmark.comparability_notes(chosen):
        st.text(f"• {note}")


def _render_summary(results: Sequence[BenchmarkResult], path: Path) -> None:
    order = summarise_methods(result.run_result for result in results)
    short, first = benchmark.short_labels(results), {result.run_result.method: result for result in results}
    table = methods_results.display_rows(order, lambda method: short[method])
    for row, one in zip(table, order, strict=True):
        experiment = first[one.method]
        row |= {"Learning rate": experiment.lr, "Accelerator": experiment.accelerator or None}
        row["In the survey"] = method_title(experiment.survey_method) if experiment.survey_method else None
    methods_results.render_table(table, "Results of the benchmark")
    with st.container(horizontal=True):
        csv_download("Table as CSV", lambda: benchmark_to_csv(results), "benchmark.csv")
        with st.popover("Share", icon=":material/ios_share:"):
            st.markdown("**The same table in the shell**")
            st.code(hide_folders(cli_command(path)), language="shell", wrap_lines=True)


def _render_chart(chart: str, results: Sequence[BenchmarkResult], chosen: Sequence[str], path: Path) -> None:
    order = summarise_methods(result.run_result for result in select_methods(results, chosen))
    options: dict[str, Any] = {"methods": tuple(chosen), "answer": results, "caption": _CAPTIONS[chart]}
    if chart == "Against cost":
        recorded = [name for name in COST_LABELS if any(getattr(one, name) is not None for one in order)]
        cost = methods_results.select_cost(recorded or ["trained"])
        key = f"benchmark-front-{cost}"
        render_plot(plot_peft_benchmark, str(path), key=key, filename=f"benchmark-{cost}", cost=cost, **options)
        return
    if len(order) > MAX_CURVES:
        st.caption(f"The {MAX_CURVES} best of {len(order)} experiments. Select methods above to see others.")
    filename = f"benchmark-{chart.lower().replace(' ', '-')}"
    options |= {"key": f"{filename}-{min(len(order), MAX_CURVES)}", "filename": filename}
    if chart == "Side by side":
        render_plot(plot_peft_benchmark_panels, str(path), **options)
    else:
        render_plot(plot_peft_benchmark_curves, str(path), loss=chart == "Training loss", **options)


def benchmark_to_csv(results: Sequence[BenchmarkResult]) -> str:
    """Return the table as CSV, one row per experiment."""
    columns = (*TABLE_COLUMNS, *benchmark.EXTRA_COLUMNS)
    return table_to_csv([columns, *([row[name] for name in columns] for row in benchmark.benchmark_rows(results))])


def cli_command(path: Path) -> str:
    """Return the shell command that gives the same table."""
    return shlex.join(["ptviz", "benchmark", str(path)])
