"""Result files of PEFT's benchmark as a race: table, curves, accuracy against cost.

Names in the files are a stranger's: they are shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ptviz.analysis import peft_benchmark as benchmark
from ptviz.analysis.comparison import COLUMNS, Band, bands, standings
from ptviz.analysis.peft_benchmark import Result
from ptviz.checkpoints.benchmark_files import read_results
from ptviz.figures import comparison as figures
from ptviz.figures.comparison import Look
from ptviz.figures.csv_export import table_csv
from ptviz.figures.style import variant
from ptviz.plots.method_style import mark_of, title_of
from ptviz.ui import scripts
from ptviz.ui.cache import remembered
from ptviz.ui.compare import methods_results
from ptviz.ui.compare import methods_text as words
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.open import checkpoint

PICTURES = ("Against cost", "Validation", "Training loss", "Side by side")
DRAWN = 16
"""Curves in one picture; more cannot be told apart."""
_DROP = "JSON files out of the benchmark's folder results; they stay on this machine and nothing in them is executed"
_WHERE = "or the path of a file or a folder on this machine"
_PATHS = "/home/me/peft/method_comparison/MetaMathQA/results"
_READ = {
    "Validation": "How to read it: one line a result, validation accuracy as the file tells it; methods keep their "
    "colour, their variants differ in dash and symbol. Click a name to hide a line, double-click to see it alone.",
    "Training loss": "How to read it: one line a result, the mean training loss since the point before. Lower is not "
    "better by itself: what counts is the accuracy on rows it never saw.",
    "Side by side": "How to read it: one panel a result, validation accuracy, all on the same axes.",
    "Against cost": "How to read it: up is better, left is cheaper. Nothing shown is both cheaper and better than a "
    "result on the grey line.",
}


def choose() -> Path | None:
    """Result files dropped here, or the path of a file or folder, which lives in the page's address."""
    path = checkpoint.choose("results", "Drop result files here", _DROP, _WHERE, _PATHS)
    return path.expanduser() if path is not None else None


def opened(path: Path) -> tuple[list[Result], list[str]]:
    """The results at a path, read again only if something changed, and what could not be read.

    Raises:
        CheckpointError: if there is nothing at the path, or too much.
    """

    def read() -> tuple[list[Result], list[str]]:
        files, unread = read_results([path])
        results, refused = benchmark.results_of(files)
        return results, [*unread, *refused]

    return remembered(("benchmark", str(path), checkpoint.age(path)), read)


def show(path: Path) -> None:
    """Everything about the results at a path."""
    results, problems = opened(path)
    if problems:
        with st.expander(f"{len(problems)} remarks on the files", icon=":material/warning:", expanded=not results):
            st.text("\n".join(problems))
    if not results:
        st.caption("No result could be read there: choose the JSON files out of the folder results of the benchmark.")
        return
    kinds = sorted({result.kind for result in results})
    picked = st.multiselect("Methods", kinds, key="kinds", placeholder="all") if len(kinds) > 1 else []
    chosen = [result for result in results if not picked or result.kind in picked]
    _results(chosen, path)
    picture = st.segmented_control(
        "Picture", PICTURES, default=PICTURES[0], key="picture", required=True, bind="query-params"
    )
    _draw(str(picture), chosen, looks(results), path)
    for remark in benchmark.remarks(chosen):
        st.text(f"• {remark}")


def looks(results: Sequence[Result]) -> dict[str, Look]:
    """A mark for every experiment: the colour of its method as on every page, dash and symbol by its variant."""
    short = benchmark.labels(results)
    known: dict[str, Look] = {}
    turns: dict[str, int] = {}
    for result in sorted(results, key=lambda result: result.lap.method):
        if result.lap.method not in known:
            turn = turns.get(result.kind, 0)
            turns[result.kind] = turn + 1
            base = mark_of(result.ours or result.kind)
            known[result.lap.method] = Look(short[result.lap.method], variant(base, turn))
    return known


def _results(results: Sequence[Result], path: Path) -> None:
    order = standings(result.lap for result in results)
    short, first = benchmark.labels(results), {result.lap.method: result for result in results}
    table = methods_results.tabled(order, lambda method: short[method])
    for row, one in zip(table, order, strict=True):
        told = first[one.method]
        row |= {"Learning rate": told.lr, "Accelerator": told.accelerator or None}
        row["In the survey"] = title_of(told.ours) if told.ours else None
    methods_results.show_table(table, "Results of the benchmark")
    with st.container(horizontal=True):
        st.download_button(
            "Table as CSV", data=lambda: as_csv(results), file_name="benchmark.csv", mime="text/csv",
            on_click="ignore", icon=":material/download:", key="benchmark-csv",
        )  # fmt: skip
        with st.popover("Share", icon=":material/ios_share:"):
            st.markdown("**The same table in the shell**")
            st.code(command(path), language="shell", wrap_lines=True)


def _draw(picture: str, results: Sequence[Result], known: dict[str, Look], path: Path) -> None:
    order = standings(result.lap for result in results)
    if picture == "Against cost":
        costs = [name for name in figures.COSTS if any(getattr(one, name) is not None for one in order)] or ["trained"]
        cost = str(st.segmented_control(
            "Cost", costs, default=costs[0], key="cost", required=True, bind="query-params",
            format_func=lambda name: figures.COSTS[name], label_visibility="collapsed",
        ))  # fmt: skip
        panel(figures.draw_front(order, cost, known), words.of_front(order, cost), _READ[picture],
              key=f"benchmark-front-{cost}", name=f"benchmark-{cost}", python=front_python(path, cost))  # fmt: skip
        return
    best = [one.method for one in order[:DRAWN]]
    loss = picture == "Training loss"
    laps = benchmark.loss_laps(results) if loss else [result.lap for result in results]
    curves = bands(sorted((lap for lap in laps if lap.method in best), key=lambda lap: best.index(lap.method)))
    if len(order) > DRAWN:
        st.caption(f"The {DRAWN} best of {len(order)} results. Choose methods above to see others.")
    if picture == "Side by side":
        figure = figures.draw_small_multiples(curves, known)
    else:
        figure = figures.draw_bands(curves, known, loss=loss)
    told = of_losses(curves) if loss else words.of_bands(curves)
    slug = picture.lower().replace(" ", "-")
    panel(figure, told, _READ[picture], key=f"benchmark-{slug}-{len(curves)}", name=f"benchmark-{slug}",
          python=curves_python(path, best, picture))  # fmt: skip


def of_losses(curves: Sequence[Band]) -> str:
    """The training losses in words."""
    told = [band for band in curves if band.steps]
    if not told:
        return "Training loss over steps: these files tell none."
    ends = "; ".join(f"{band.method} {band.mean[-1]:.3f}" for band in told)
    return f"Training loss over {max(band.steps[-1] for band in told)} updates. At the end: {ends}."


def as_csv(results: Sequence[Result]) -> str:
    """The table as CSV, one row an experiment."""
    columns = (*COLUMNS, *benchmark.COLUMNS)
    return table_csv([columns, *([row[name] for name in columns] for row in benchmark.table(results))])


def command(path: Path) -> str:
    """The shell line that gives the same table."""
    import shlex

    return shlex.join(["ptviz", "benchmark", str(path)])


def _read_again(path: Path) -> list[str]:
    return [
        "from ptviz.analysis.peft_benchmark import results_of",
        "from ptviz.checkpoints.benchmark_files import read_results",
        "from ptviz.ui.compare.peft_benchmark import looks", f"files, unread = read_results([{str(path)!r}])",
        "results, refused = results_of(files)",
    ]  # fmt: skip


def front_python(path: Path, cost: str) -> str:
    """A script that draws accuracy against a cost from the same files."""
    lines = [
        *_read_again(path), "from ptviz.analysis.comparison import standings",
        "order = standings(result.lap for result in results)",
    ]  # fmt: skip
    return scripts.script("race", lines, f"draw_front(order, {cost!r}, looks(results))", f"benchmark-{cost}")


def curves_python(path: Path, shown: Sequence[str], picture: str) -> str:
    """A script that draws the curves of some experiments from the same files."""
    loss = picture == "Training loss"
    lines = [
        *_read_again(path), "from ptviz.analysis.comparison import bands", f"shown = {list(shown)!r}",
        "results = [result for result in results if result.lap.method in shown]",
        "from ptviz.analysis.peft_benchmark import loss_laps" if loss else "",
        f"curves = bands({'loss_laps(results)' if loss else '[result.lap for result in results]'})",
    ]  # fmt: skip
    drawn = "draw_small_multiples" if picture == "Side by side" else "draw_bands"
    more = ", loss=True" if loss else ""
    lines = [line for line in lines if line]
    return scripts.script("race", lines, f"{drawn}(curves, looks(results){more})", "benchmark-curves")
