"""The results of a race: table, pictures, comparisons, and everything to take along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd
import streamlit as st

from ptviz.analysis.comparison import COLUMNS, Band, Lap, Standing, bands, grid, megabytes, paired, rows, standings
from ptviz.experiments.comparison import Entry, outcomes
from ptviz.figures import comparison as figures
from ptviz.figures.comparison import Look
from ptviz.figures.convergence import draw_convergence
from ptviz.figures.csv_export import table_csv
from ptviz.methods import REGISTRY
from ptviz.plots.method_style import mark_of, title_of
from ptviz.runs import ALIVE, RunConfig
from ptviz.training import default_rate
from ptviz.ui import scripts
from ptviz.ui.backend import store
from ptviz.ui.compare import methods_text as words
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.formatting import percent

PICTURES = ("Curves", "Side by side", "Against cost", "Convergence", "Seeds")


def looks(methods: Sequence[str] = ()) -> dict[str, Look]:
    """Title and mark of every method, the same on every page."""
    return {name: Look(title_of(name), mark_of(name)) for name in [*REGISTRY, *methods]}


def rate_of(config: RunConfig) -> float:
    """The learning rate a run would use."""
    return config.training.lr or default_rate(config.method, config.backbone)


def laps_of(found: Sequence[Entry]) -> list[Lap]:
    """The finished runs of a race in numbers."""
    return [Lap(**asdict(outcome)) for outcome in outcomes(store(), found)]


def under_way(found: Sequence[Entry]) -> list[Lap]:
    """The curves so far of the runs that train, without results."""
    made = []
    for entry in found:
        if entry.state in ALIVE and entry.run is not None:
            curve = store().get(entry.run).curve()
            told = tuple(evaluation.accuracy for evaluation in curve.evaluations)
            made.append(
                Lap(
                    entry.config.method,
                    entry.config.training.seed,
                    entry.run,
                    evaluated=curve.evaluated,
                    accuracies=told,
                )
            )
    return made


def zero_shot_of(found: Sequence[Entry]) -> float | None:
    """The mean zero-shot accuracy on the validation rows, which differ a little by seed."""
    runs = {entry.run for entry in found}
    told = [summary.status.zero_shot for summary in store().list() if summary.id in runs]
    known = [share for share in told if share is not None]
    return sum(known) / len(known) if known else None


def show(found: Sequence[Entry]) -> None:
    """Table and pictures of a race, as far as it has come."""
    laps = laps_of(found)
    order = standings(laps)
    if not order and not any(entry.run for entry in found):
        return
    results(order, laps, found)
    picture = st.segmented_control(
        "Picture", PICTURES, default=PICTURES[0], key="picture", required=True, bind="query-params"
    )
    # In the line-up's order, not that of arrival: a picture must not jump when a run finishes.
    names = list(dict.fromkeys(entry.config.method for entry in found))
    curves = bands(sorted([*laps, *under_way(found)], key=lambda lap: names.index(lap.method)))
    _draw(str(picture), order, curves, zero_shot_of(found), [entry.run for entry in found if entry.run is not None])
    training = found[0].config.training
    seeds = len({entry.config.training.seed for entry in found})
    st.caption(words.of_fairness([one.length for one in order], training.steps, training.batch, seeds))


def _draw(
    picture: str, order: Sequence[Standing], curves: Sequence[Band], zero: float | None, ids: Sequence[str]
) -> None:
    known = looks([band.method for band in curves])

    def shown(figure: Any, alt: str, drawn: str, name: str, key: str = "", module: str = "race") -> None:
        python = scripts.race(ids, drawn, name, module)
        panel(figure, alt, words.READ[picture], key=key or name, name=name, python=python)

    if picture == "Curves":
        shown(figures.draw_bands(curves, known, zero), words.of_bands(curves), "draw_bands(curves, looks, zero_shot)",
              "race-curves")  # fmt: skip
    elif picture == "Side by side":
        shown(figures.draw_small_multiples(curves, known, zero), words.of_bands(curves),
              "draw_small_multiples(curves, looks, zero_shot)", "race-panels", f"panels-{len(curves)}")  # fmt: skip
    elif picture == "Against cost":
        cost = str(st.segmented_control(
            "Cost", list(figures.COSTS), default="trained", key="cost", required=True, bind="query-params",
            format_func=lambda name: figures.COSTS[name], label_visibility="collapsed",
        ))  # fmt: skip
        shown(figures.draw_front(order, cost, known), words.of_front(order, cost),
              f"draw_front(order, {cost!r}, looks)", f"race-{cost}")  # fmt: skip
    elif picture == "Convergence":
        shown(draw_convergence(order, known), words.of_convergence(order), "draw_convergence(order, looks)",
              "race-convergence", module="convergence")  # fmt: skip
    else:
        shown(figures.draw_spread(order, known), words.of_spread(order), "draw_spread(order, looks)", "race-seeds")
        if len(order) > 1:
            comparisons(order)


def results(order: Sequence[Standing], laps: Sequence[Lap], found: Sequence[Entry]) -> None:
    """The table, the best mean first, and the ways to take it along."""
    if not order:
        st.caption("The table appears with the first finished run.")
        return
    table = tabled(order)
    zeros = {None if one.zero_shot is None else round(one.zero_shot, 4) for one in order}
    (zero,) = zeros if len(zeros) == 1 else (None,)
    alone = "" if zero is None else f" The backbone alone: {percent(zero)} on the test rows."
    for row in table:
        if alone:  # One number for all is no column.
            del row["Zero-shot"]
    show_table(table, "Results of the race")
    st.caption(f"{words.COLUMNS}{alone}")
    with st.container(horizontal=True):
        st.download_button(
            "Table as CSV", data=lambda: as_csv(order), file_name="race.csv", mime="text/csv", on_click="ignore",
            icon=":material/download:", key="race-csv",
        )  # fmt: skip
        st.download_button(
            "Every evaluation as CSV", data=lambda: curves_csv(laps), file_name="race-curves.csv", mime="text/csv",
            on_click="ignore", icon=":material/download:", key="race-curves-csv",
        )  # fmt: skip
        if found:
            with st.popover("Share", icon=":material/ios_share:"):
                st.markdown("**The same race in the shell**")
                st.code(command(found), language="shell", wrap_lines=True)
                st.markdown("**Its numbers in Python**")
                st.code(python(found), language="python")


def tabled(order: Sequence[Standing], name: Callable[[str], str] = title_of) -> list[dict[str, object]]:
    """A race's table for people, the best mean first."""
    return [
        {
            "Method": name(one.method),
            "Test": round(one.mean, 3),
            "sd": None if one.sd is None else round(one.sd, 3),
            "95 % interval": f"{percent(one.interval.low)} to {percent(one.interval.high)}" if one.interval else None,
            "Zero-shot": None if one.zero_shot is None else round(one.zero_shot, 3),
            "Trained": one.trained,
            "Stored": one.stored,
            "Seconds": one.seconds,
            "Memory (MB)": megabytes(one.memory),
            "Length": one.length,
            "File (MB)": megabytes(one.size),
            "To 90, 95 %": None if one.steps95 is None else f"{one.steps90:.0f}, {one.steps95:.0f}",
            "Seeds": len(one.seeds),
        }
        for one in order
    ]


def show_table(table: list[dict[str, object]], alt: str) -> None:
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


def comparisons(order: Sequence[Standing]) -> None:
    """The first against every other, paired over seeds."""
    pairs = [paired(order[0], other) for other in order[1:]]
    st.markdown(f"**{title_of(order[0].method)} against the others, seed by seed**")
    table = [
        {
            "Against": title_of(pair.second),
            "Difference (points)": round(100 * pair.mean, 1) if pair.differences else None,
            "95 % interval": f"{100 * pair.interval.low:+.1f} to {100 * pair.interval.high:+.1f}"
            if pair.interval
            else None,
            "Seeds": len(pair.seeds),
            "So": words.verdict(pair),
        }
        for pair in pairs
    ]
    st.dataframe(pd.DataFrame(table), hide_index=True, height="content", placeholder="—", alt="Paired differences")
    st.caption(
        "Differences of test accuracy on the same seed, so on the same rows and batches. The first was picked because "
        "it came first: among many methods some lead is luck."
    )


def grid_picture(method: str, found: Sequence[Entry]) -> None:
    """Learning rates against seeds as a heat map."""
    by_run = {entry.run: entry.config for entry in found}
    told = [(rate_of(by_run[lap.run]), lap.seed, lap.test, lap.zero_shot) for lap in laps_of(found)]
    made = grid(method, told)
    if made.beating is not None:
        st.metric("Runs that beat zero-shot", percent(made.beating, 0))
    read = "How to read it: brighter is better; ✗ marks a run that does not beat the backbone without a prompt."
    python = scripts.grid([entry.run for entry in found if entry.run is not None])
    key = f"race-grid-{len(made.rates)}"
    panel(figures.draw_grid(made), words.of_grid(made), read, key=key, name="stability", python=python)


def as_csv(order: Sequence[Standing]) -> str:
    """The table as CSV, one row a method."""
    return table_csv([COLUMNS, *(tuple(row.values()) for row in rows(order))])


def curves_csv(laps: Sequence[Lap]) -> str:
    """Every evaluation of every finished run, one row each, with the run's results beside it."""
    once = [field.name for field in fields(Lap) if field.name not in ("evaluated", "accuracies")]
    points = (
        [*(getattr(lap, name) for name in once), *point]
        for lap in laps
        for point in zip(lap.evaluated, lap.accuracies, strict=True)
    )
    return table_csv([[*once, "step", "validation_accuracy"], *points])


def command(found: Sequence[Entry]) -> str:
    """The shell line that makes this race again."""
    import shlex

    first = found[0].config
    methods = list(dict.fromkeys(entry.config.method for entry in found))
    seeds = len({entry.config.training.seed for entry in found})
    line = ["ptviz", "race", "--methods", "all" if methods == [*REGISTRY] else ",".join(methods)]
    line += ["--task", first.task, "--backbone", first.backbone]
    line += ["--seeds", str(seeds), "--steps", str(first.training.steps)]
    for name in ("text", "label"):
        line += [f"--{name}", getattr(first, name)] if getattr(first, name) is not None else []
    lengths = {entry.config.knobs["m"] for entry in found if "m" in entry.config.knobs}
    if str(st.query_params.get("m", "")) and len(lengths) == 1:
        line += ["--set", f"m={lengths.pop()}"]
    return shlex.join(line)


def python(found: Sequence[Entry]) -> str:
    """A script that reads the race's finished runs."""
    ids = [entry.run for entry in found if entry.run is not None and entry.state == "finished"]
    return "\n".join(
        ["from dataclasses import asdict", "", "from ptviz.analysis.comparison import Lap, standings",
         "from ptviz.runs import Store", "from ptviz.experiments.comparison import outcome", "", f"runs = {ids!r}",
         "laps = [Lap(**asdict(outcome(Store().get(run)))) for run in runs]", "for standing in standings(laps):",
         "    print(standing)"]
    )  # fmt: skip
