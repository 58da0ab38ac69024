"""Result files of PEFT's benchmark as a race: table, curves, accuracy against cost.

Names in the files are a stranger's: they are shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ptviz.analysis import peft_benchmark as benchmark
from ptviz.analysis.comparison import TABLE_COLUMNS, SeedBand, compute_seed_bands, summarise_methods
from ptviz.analysis.peft_benchmark import BenchmarkResult
from ptviz.checkpoints.benchmark_files import read_benchmark_files
from ptviz.figures import comparison as figures
from ptviz.figures.comparison import MethodStyle
from ptviz.figures.csv_export import table_to_csv
from ptviz.figures.style import style_variant
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.ui import scripts
from ptviz.ui.compare import methods_results
from ptviz.ui.compare import methods_text as words
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.open import checkpoint

CHARTS = ("Against cost", "Validation", "Training loss", "Side by side")
MAX_CURVES = 16
"""Curves in one picture; more cannot be told apart."""
_UPLOAD_HELP = (
    "JSON files out of the benchmark's folder results; they stay on this machine and nothing in them is executed"
)
_PATH_LABEL = "or the path of a file or a folder on this machine"
_PATH_EXAMPLE = "/home/me/peft/method_comparison/MetaMathQA/results"
_CAPTIONS = {
    "Validation": "How to read it: one line a result, validation accuracy as the file tells it; methods keep their "
    "colour, their variants differ in dash and symbol. Click a name to hide a line, double-click to see it alone.",
    "Training loss": "How to read it: one line a result, the mean training loss since the point before. Lower is not "
    "better by itself: what counts is the accuracy on rows it never saw.",
    "Side by side": "How to read it: one panel a result, validation accuracy, all on the same axes.",
    "Against cost": "How to read it: up is better, left is cheaper. Nothing shown is both cheaper and better than a "
    "result on the grey line.",
}


def results_input() -> Path | None:
    """Result files dropped here, or the path of a file or folder, which lives in the page's address."""
    path = checkpoint.checkpoint_input("results", "Drop result files here", _UPLOAD_HELP, _PATH_LABEL, _PATH_EXAMPLE)
    return path.expanduser() if path is not None else None


def load_results(path: Path) -> tuple[list[BenchmarkResult], list[str]]:
    """The results at a path, read again only if something changed, and what could not be read.

    Raises:
        CheckpointError: if there is nothing at the path, or too much.
    """

    def read() -> tuple[list[BenchmarkResult], list[str]]:
        files, unread = read_benchmark_files([path])
        results, refused = benchmark.parse_results(files)
        return results, [*unread, *refused]

    return cached_by_signature(("benchmark", str(path), checkpoint.last_modified(path)), read)


def render_benchmark(path: Path) -> None:
    """Everything about the results at a path."""
    results, problems = load_results(path)
    if problems:
        with st.expander(f"{len(problems)} remarks on the files", icon=":material/warning:", expanded=not results):
            st.text("\n".join(problems))
    if not results:
        st.caption("No result could be read there: choose the JSON files out of the folder results of the benchmark.")
        return
    kinds = sorted({result.kind for result in results})
    picked = st.multiselect("Methods", kinds, key="kinds", placeholder="all") if len(kinds) > 1 else []
    chosen = [result for result in results if not picked or result.kind in picked]
    _render_summary(chosen, path)
    picture = st.segmented_control(
        "Picture", CHARTS, default=CHARTS[0], key="picture", required=True, bind="query-params"
    )
    _render_chart(str(picture), chosen, experiment_styles(results), path)
    for remark in benchmark.comparability_notes(chosen):
        st.text(f"• {remark}")


def experiment_styles(results: Sequence[BenchmarkResult]) -> dict[str, MethodStyle]:
    """A mark for every experiment: the colour of its method as on every page, dash and symbol by its variant."""
    short = benchmark.short_labels(results)
    known: dict[str, MethodStyle] = {}
    turns: dict[str, int] = {}
    for result in sorted(results, key=lambda result: result.run_result.method):
        if result.run_result.method not in known:
            turn = turns.get(result.kind, 0)
            turns[result.kind] = turn + 1
            base = method_series_style(result.survey_method or result.kind)
            known[result.run_result.method] = MethodStyle(short[result.run_result.method], style_variant(base, turn))
    return known


def _render_summary(results: Sequence[BenchmarkResult], path: Path) -> None:
    order = summarise_methods(result.run_result for result in results)
    short, first = benchmark.short_labels(results), {result.run_result.method: result for result in results}
    table = methods_results.display_rows(order, lambda method: short[method])
    for row, one in zip(table, order, strict=True):
        told = first[one.method]
        row |= {"Learning rate": told.lr, "Accelerator": told.accelerator or None}
        row["In the survey"] = method_title(told.survey_method) if told.survey_method else None
    methods_results.render_table(table, "Results of the benchmark")
    with st.container(horizontal=True):
        st.download_button(
            "Table as CSV", data=lambda: benchmark_to_csv(results), file_name="benchmark.csv", mime="text/csv",
            on_click="ignore", icon=":material/download:", key="benchmark-csv",
        )  # fmt: skip
        with st.popover("Share", icon=":material/ios_share:"):
            st.markdown("**The same table in the shell**")
            st.code(cli_command(path), language="shell", wrap_lines=True)


def _render_chart(picture: str, results: Sequence[BenchmarkResult], known: dict[str, MethodStyle], path: Path) -> None:
    order = summarise_methods(result.run_result for result in results)
    if picture == "Against cost":
        costs = [name for name in figures.COST_LABELS if any(getattr(one, name) is not None for one in order)] or [
            "trained"
        ]
        cost = str(st.segmented_control(
            "Cost", costs, default=costs[0], key="cost", required=True, bind="query-params",
            format_func=lambda name: figures.COST_LABELS[name], label_visibility="collapsed",
        ))  # fmt: skip
        figure_panel(figures.draw_pareto_front(order, cost, known), words.describe_pareto_front(order, cost),
        _CAPTIONS[picture],
              key=f"benchmark-front-{cost}", name=f"benchmark-{cost}", python=pareto_front_code(path,
              cost))  # fmt: skip
        return
    best = [one.method for one in order[:MAX_CURVES]]
    loss = picture == "Training loss"
    laps = benchmark.training_loss_results(results) if loss else [result.run_result for result in results]
    curves = compute_seed_bands(
        sorted((lap for lap in laps if lap.method in best), key=lambda lap: best.index(lap.method))
    )
    if len(order) > MAX_CURVES:
        st.caption(f"The {MAX_CURVES} best of {len(order)} results. Choose methods above to see others.")
    if picture == "Side by side":
        figure = figures.draw_small_multiples(curves, known)
    else:
        figure = figures.draw_seed_bands(curves, known, loss=loss)
    told = describe_losses(curves) if loss else words.describe_seed_bands(curves)
    slug = picture.lower().replace(" ", "-")
    figure_panel(figure, told, _CAPTIONS[picture], key=f"benchmark-{slug}-{len(curves)}", name=f"benchmark-{slug}",
          python=curves_code(path, best, picture))  # fmt: skip


def describe_losses(curves: Sequence[SeedBand]) -> str:
    """The training losses in words."""
    told = [band for band in curves if band.steps]
    if not told:
        return "Training loss over steps: these files tell none."
    ends = "; ".join(f"{band.method} {band.mean[-1]:.3f}" for band in told)
    return f"Training loss over {max(band.steps[-1] for band in told)} updates. At the end: {ends}."


def benchmark_to_csv(results: Sequence[BenchmarkResult]) -> str:
    """The table as CSV, one row an experiment."""
    columns = (*TABLE_COLUMNS, *benchmark.EXTRA_COLUMNS)
    return table_to_csv([columns, *([row[name] for name in columns] for row in benchmark.benchmark_rows(results))])


def cli_command(path: Path) -> str:
    """The shell line that gives the same table."""
    import shlex

    return shlex.join(["ptviz", "benchmark", str(path)])


def _load_code(path: Path) -> list[str]:
    return [
        "from ptviz.analysis.peft_benchmark import parse_results",
        "from ptviz.checkpoints.benchmark_files import read_benchmark_files",
        "from ptviz.ui.compare.peft_benchmark import experiment_styles",
        f"files, unread = read_benchmark_files([{str(path)!r}])",
        "results, refused = parse_results(files)",
    ]  # fmt: skip


def pareto_front_code(path: Path, cost: str) -> str:
    """A script that draws accuracy against a cost from the same files."""
    lines = [
        *_load_code(path), "from ptviz.analysis.comparison import summarise_methods",
        "order = summarise_methods(result.lap for result in results)",
    ]  # fmt: skip
    return scripts.figure_script(
        "comparison", lines, f"draw_pareto_front(order, {cost!r}, looks(results))", f"benchmark-{cost}"
    )


def curves_code(path: Path, shown: Sequence[str], picture: str) -> str:
    """A script that draws the curves of some experiments from the same files."""
    loss = picture == "Training loss"
    lines = [
        *_load_code(path), "from ptviz.analysis.comparison import compute_seed_bands", f"shown = {list(shown)!r}",
        "results = [result for result in results if result.lap.method in shown]",
        "from ptviz.analysis.peft_benchmark import training_loss_results" if loss else "",
        f"curves = compute_seed_bands({'training_loss_results(results)' if loss else '[result.lap for result in results]'})",
    ]  # fmt: skip
    drawn = "draw_small_multiples" if picture == "Side by side" else "draw_bands"
    more = ", loss=True" if loss else ""
    lines = [line for line in lines if line]
    return scripts.figure_script("comparison", lines, f"{drawn}(curves, looks(results){more})", "benchmark-curves")
