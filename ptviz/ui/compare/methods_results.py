"""The results of a race: table, pictures, comparisons, and everything to take along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd
import streamlit as st

from ptviz.analysis.comparison import (
    TABLE_COLUMNS,
    MethodSummary,
    RunResult,
    SeedBand,
    build_learning_rate_grid,
    compare_paired,
    compute_seed_bands,
    summarise_methods,
    table_rows,
    to_mebibytes,
)
from ptviz.experiments.comparison import PlannedRun, load_results
from ptviz.figures import comparison as figures
from ptviz.figures.comparison import MethodStyle
from ptviz.figures.convergence import draw_convergence
from ptviz.figures.csv_export import table_to_csv
from ptviz.methods import REGISTRY
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.runs import ACTIVE_STATES, RunConfig
from ptviz.training import default_learning_rate
from ptviz.ui import scripts
from ptviz.ui.backend import get_store
from ptviz.ui.compare import methods_text as words
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.formatting import format_percent

CHARTS = ("Curves", "Side by side", "Against cost", "Convergence", "Seeds")


def method_styles(methods: Sequence[str] = ()) -> dict[str, MethodStyle]:
    """Title and mark of every method, the same on every page."""
    return {name: MethodStyle(method_title(name), method_series_style(name)) for name in [*REGISTRY, *methods]}


def effective_lr(config: RunConfig) -> float:
    """The learning rate a run would use."""
    return config.training.lr or default_learning_rate(config.method, config.backbone)


def load_run_results(found: Sequence[PlannedRun]) -> list[RunResult]:
    """The finished runs of a race in numbers."""
    return [RunResult(**asdict(outcome)) for outcome in load_results(get_store(), found)]


def load_running_results(found: Sequence[PlannedRun]) -> list[RunResult]:
    """The curves so far of the runs that train, without results."""
    made = []
    for entry in found:
        if entry.state in ACTIVE_STATES and entry.run is not None:
            curve = get_store().get(entry.run).history()
            told = tuple(evaluation.accuracy for evaluation in curve.evaluations)
            made.append(
                RunResult(
                    entry.config.method,
                    entry.config.training.seed,
                    entry.run,
                    evaluated=curve.evaluation_steps,
                    accuracies=told,
                )
            )
    return made


def mean_zero_shot(found: Sequence[PlannedRun]) -> float | None:
    """The mean zero-shot accuracy on the validation rows, which differ a little by seed."""
    runs = {entry.run for entry in found}
    told = [summary.status.zero_shot for summary in get_store().list() if summary.id in runs]
    known = [share for share in told if share is not None]
    return sum(known) / len(known) if known else None


def render_comparison_results(found: Sequence[PlannedRun]) -> None:
    """Table and pictures of a race, as far as it has come."""
    laps = load_run_results(found)
    order = summarise_methods(laps)
    if not order and not any(entry.run for entry in found):
        return
    render_summary(order, laps, found)
    picture = st.segmented_control(
        "Picture", CHARTS, default=CHARTS[0], key="picture", required=True, bind="query-params"
    )
    # In the line-up's order, not that of arrival: a picture must not jump when a run finishes.
    names = list(dict.fromkeys(entry.config.method for entry in found))
    curves = compute_seed_bands(sorted([*laps, *load_running_results(found)], key=lambda lap: names.index(lap.method)))
    _render_chart(
        str(picture), order, curves, mean_zero_shot(found), [entry.run for entry in found if entry.run is not None]
    )
    training = found[0].config.training
    seeds = len({entry.config.training.seed for entry in found})
    st.caption(words.describe_budget([one.length for one in order], training.steps, training.batch, seeds))


def _render_chart(
    picture: str, order: Sequence[MethodSummary], curves: Sequence[SeedBand], zero: float | None, ids: Sequence[str]
) -> None:
    known = method_styles([band.method for band in curves])

    def shown(figure: Any, alt: str, drawn: str, name: str, key: str = "", module: str = "comparison") -> None:
        python = scripts.comparison_script(ids, drawn, name, module)
        figure_panel(figure, alt, words.CAPTIONS[picture], key=key or name, name=name, python=python)

    if picture == "Curves":
        shown(figures.draw_seed_bands(curves, known, zero), words.describe_seed_bands(curves),
        "draw_seed_bands(curves, looks, zero_shot)",
              "race-curves")  # fmt: skip
    elif picture == "Side by side":
        shown(figures.draw_small_multiples(curves, known, zero), words.describe_seed_bands(curves),
              "draw_small_multiples(curves, looks, zero_shot)", "race-panels", f"panels-{len(curves)}")  # fmt: skip
    elif picture == "Against cost":
        cost = str(st.segmented_control(
            "Cost", list(figures.COST_LABELS), default="trained", key="cost", required=True, bind="query-params",
            format_func=lambda name: figures.COST_LABELS[name], label_visibility="collapsed",
        ))  # fmt: skip
        shown(figures.draw_pareto_front(order, cost, known), words.describe_pareto_front(order, cost),
              f"draw_pareto_front(order, {cost!r}, looks)", f"race-{cost}")  # fmt: skip
    elif picture == "Convergence":
        shown(draw_convergence(order, known), words.describe_convergence(order), "draw_convergence(order, looks)",
              "race-convergence", module="convergence")  # fmt: skip
    else:
        shown(
            figures.draw_seed_spread(order, known),
            words.describe_seed_spread(order),
            "draw_seed_spread(order, looks)",
            "race-seeds",
        )
        if len(order) > 1:
            render_paired_comparisons(order)


def render_summary(order: Sequence[MethodSummary], laps: Sequence[RunResult], found: Sequence[PlannedRun]) -> None:
    """The table, the best mean first, and the ways to take it along."""
    if not order:
        st.caption("The table appears with the first finished run.")
        return
    table = display_rows(order)
    zeros = {None if one.zero_shot is None else round(one.zero_shot, 4) for one in order}
    (zero,) = zeros if len(zeros) == 1 else (None,)
    alone = "" if zero is None else f" The backbone alone: {format_percent(zero)} on the test rows."
    for row in table:
        if alone:  # One number for all is no column.
            del row["Zero-shot"]
    render_table(table, "Results of the race")
    st.caption(f"{words.COLUMN_NOTES}{alone}")
    with st.container(horizontal=True):
        st.download_button(
            "Table as CSV", data=lambda: summary_to_csv(order), file_name="race.csv", mime="text/csv",
            on_click="ignore",
            icon=":material/download:", key="race-csv",
        )  # fmt: skip
        st.download_button(
            "Every evaluation as CSV", data=lambda: evaluations_to_csv(laps), file_name="race-curves.csv",
            mime="text/csv",
            on_click="ignore", icon=":material/download:", key="race-curves-csv",
        )  # fmt: skip
        if found:
            with st.popover("Share", icon=":material/ios_share:"):
                st.markdown("**The same comparison in the shell**")
                st.code(cli_command(found), language="shell", wrap_lines=True)
                st.markdown("**Its numbers in Python**")
                st.code(python_code(found), language="python")


def display_rows(order: Sequence[MethodSummary], name: Callable[[str], str] = method_title) -> list[dict[str, object]]:
    """A race's table for people, the best mean first."""
    return [
        {
            "Method": name(one.method),
            "Test": round(one.mean, 3),
            "sd": None if one.sd is None else round(one.sd, 3),
            "95 % interval": f"{format_percent(one.interval.low)} to {format_percent(one.interval.high)}"
            if one.interval
            else None,
            "Zero-shot": None if one.zero_shot is None else round(one.zero_shot, 3),
            "Trained": one.trained,
            "Stored": one.stored,
            "Seconds": one.seconds,
            "Memory (MB)": to_mebibytes(one.memory),
            "Length": one.length,
            "File (MB)": to_mebibytes(one.size),
            "To 90, 95 %": None if one.steps95 is None else f"{one.steps90:.0f}, {one.steps95:.0f}",
            "Seeds": len(one.seeds),
        }
        for one in order
    ]


def render_table(table: list[dict[str, object]], alt: str) -> None:
    """A race's table on the page, without the columns that are empty for all."""
    share, whole = st.column_config.NumberColumn(format="percent"), st.column_config.NumberColumn(format="%.0f")
    config = {name: share for name in ("sd", "Zero-shot")}
    config |= {name: whole for name in ("Seconds", "Memory (MB)")}
    config |= {name: st.column_config.NumberColumn(format="localized") for name in ("Trained", "Stored")}
    config["File (MB)"] = st.column_config.NumberColumn(format="%.3g")
    bar = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small")
    st.dataframe(
        pd.DataFrame(table).dropna(axis="columns", how="all"), hide_index=True, placeholder="—", alt=alt,
        height=min(38 + 35 * max(len(table), 1), 640), column_config={**config, "Test": bar},
    )  # fmt: skip


def render_paired_comparisons(order: Sequence[MethodSummary]) -> None:
    """The first against every other, paired over seeds."""
    pairs = [compare_paired(order[0], other) for other in order[1:]]
    st.markdown(f"**{method_title(order[0].method)} against the others, seed by seed**")
    table = [
        {
            "Against": method_title(pair.second),
            "Difference (points)": round(100 * pair.mean, 1) if pair.differences else None,
            "95 % interval": f"{100 * pair.interval.low:+.1f} to {100 * pair.interval.high:+.1f}"
            if pair.interval
            else None,
            "Seeds": len(pair.seeds),
            "So": words.describe_paired_result(pair),
        }
        for pair in pairs
    ]
    st.dataframe(pd.DataFrame(table), hide_index=True, height="content", placeholder="—", alt="Paired differences")
    st.caption(
        "Differences of test accuracy on the same seed, so on the same rows and batches. The first was picked because "
        "it came first: among many methods some lead is luck."
    )


def render_learning_rate_grid(method: str, found: Sequence[PlannedRun]) -> None:
    """Learning rates against seeds as a heat map."""
    by_run = {entry.run: entry.config for entry in found}
    told = [(effective_lr(by_run[lap.run]), lap.seed, lap.test, lap.zero_shot) for lap in load_run_results(found)]
    made = build_learning_rate_grid(method, told)
    if made.share_above_zero_shot is not None:
        st.metric("Runs that beat zero-shot", format_percent(made.share_above_zero_shot, 0))
    read = "How to read it: brighter is better; ✗ marks a run that does not beat the backbone without a prompt."
    python = scripts.learning_rate_grid_script([entry.run for entry in found if entry.run is not None])
    key = f"race-grid-{len(made.learning_rates)}"
    figure_panel(
        figures.draw_learning_rate_grid(made),
        words.describe_learning_rate_grid(made),
        read,
        key=key,
        name="stability",
        python=python,
    )


def summary_to_csv(order: Sequence[MethodSummary]) -> str:
    """The table as CSV, one row a method."""
    return table_to_csv([TABLE_COLUMNS, *(tuple(row.values()) for row in table_rows(order))])


def evaluations_to_csv(laps: Sequence[RunResult]) -> str:
    """Every evaluation of every finished run, one row each, with the run's results beside it."""
    once = [field.name for field in fields(RunResult) if field.name not in ("evaluated", "accuracies")]
    points = (
        [*(getattr(lap, name) for name in once), *point]
        for lap in laps
        for point in zip(lap.evaluated, lap.accuracies, strict=True)
    )
    return table_to_csv([[*once, "step", "validation_accuracy"], *points])


def cli_command(found: Sequence[PlannedRun]) -> str:
    """The shell line that makes this race again."""
    import shlex

    first = found[0].config
    methods = list(dict.fromkeys(entry.config.method for entry in found))
    seeds = len({entry.config.training.seed for entry in found})
    line = ["ptviz", "compare", "--methods", "all" if methods == [*REGISTRY] else ",".join(methods)]
    line += ["--task", first.task, "--backbone", first.backbone]
    line += ["--seeds", str(seeds), "--steps", str(first.training.steps)]
    for name in ("text", "label"):
        line += [f"--{name}", getattr(first, name)] if getattr(first, name) is not None else []
    lengths = {entry.config.knobs["m"] for entry in found if "m" in entry.config.knobs}
    if str(st.query_params.get("m", "")) and len(lengths) == 1:
        line += ["--set", f"m={lengths.pop()}"]
    return shlex.join(line)


def python_code(found: Sequence[PlannedRun]) -> str:
    """A script that reads the race's finished runs."""
    ids = [entry.run for entry in found if entry.run is not None and entry.state == "finished"]
    return "\n".join(
        ["from dataclasses import asdict", "", "from ptviz.analysis.comparison import RunResult, summarise_methods",
         "from ptviz.runs import Store", "from ptviz.experiments.comparison import load_result", "", f"runs = {ids!r}",
         "laps = [RunResult(**asdict(load_result(Store().get(run)))) for run in runs]",
         "for standing in summarise_methods(laps):",
         "    print(standing)"]
    )  # fmt: skip
