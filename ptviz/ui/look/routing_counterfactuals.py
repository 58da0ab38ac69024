"""Counterfactual routing: one expert for all texts, other temperatures, texts of other tasks, retraining."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from ptviz.figures.routing_counterfactuals import format_factor
from ptviz.figures.style import format_number
from ptviz.methods import list_methods
from ptviz.plots import (
    plot_forced_routing,
    plot_routing_by_task,
    plot_routing_loss_increases,
    plot_routing_temperatures,
)
from ptviz.plots.routing_counterfactuals import counterfactual_from_answer
from ptviz.plots.run_argument import right_answers_noun
from ptviz.probes.routing_counterfactuals import TEMPERATURE_FACTORS
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.forms import hyperparameter_input
from ptviz.ui.components.linked_selection import make_pick_handler
from ptviz.ui.look.look_page import SnapshotSelection
from ptviz.ui.look.on_demand import probe_on_demand
from ptviz.ui.navigation import NEW_RUN_PAGE, form_query_params

EXPERTS_KEY, TEXTS_KEY = "experts", "texts"
"""The linked selections of the page, in the session and in the address: experts or sources, and validation texts."""
_FORCED_CAPTION = (
    "How to read it: one bar per expert: the validation texts' {what} if all of them went to it. The grey line is the "
    "method's own routing, the dashed green one the best expert of each text. If the bars are as good as the grey "
    "line, routing matters little."
)
_INCREASES_CAPTION = (
    "How to read it: one row per text, sorted by how much worse its expert is than the best. Orange: the loss would be "
    "higher at this expert than at its own; blue: lower. The dot is its own expert."
)
_TEMPERATURE_CAPTION = (
    "How to read it: the same prompts and scores, mixed more sharply to the left (down to the largest one only) and "
    "more evenly to the right. The dotted line is the trained temperature, the ring the one chosen above."
)
_TASKS_CAPTION = (
    "How to read it: one row per task: which prompts its texts would use under this method. If the rows look alike, "
    "the attention does not separate the tasks."
)


@dataclass(frozen=True)
class Highlight:
    """What is highlighted in every panel: the indices of experts or sources, and of validation texts."""

    experts: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()


def temperature_slider(trained: float | None) -> float:
    """Return the chosen multiple of the trained temperature: 0 is the largest weight alone, infinity even weights."""
    names = {format_factor(factor): factor for factor in TEMPERATURE_FACTORS}
    default = format_factor(1.0)
    chosen = st.select_slider(
        "temperature, in multiples of the trained one"
        + (f" (tau = {format_number(trained)})" if trained is not None else ""),
        [*names],
        value=default,
        key="temperature",
        help=f"{default} is as trained; left of it the weights grow sharper, right of it more even",
    )
    factor = names[chosen]
    return np.inf if factor is None else factor


def render_temperatures(found: SnapshotSelection, temperature: float) -> None:
    """Show loss and right answers of the mixture at each temperature, once it is asked for."""
    st.markdown("**Other temperatures**")
    right = right_answers_noun(found.run)
    description = f"The same mixture, sharper and more even: {right} and loss at each temperature."
    answer = probe_on_demand(found, "temperatures", "Measure temperatures", description)
    if answer is not None:
        render_plot(
            plot_routing_temperatures,
            found.run,
            **found.stage_and_step,
            temperature=temperature,
            answer=answer,
            key="temperatures",
            caption=_TEMPERATURE_CAPTION,
            filename=f"{found.run.id}-temperature",
        )


def render_task_routing(found: SnapshotSelection, highlight: Highlight) -> None:
    """Show where the texts of the source tasks would go, and those of the target."""
    if not found.run.config.source_tasks():
        return
    st.markdown("**Which source prompts do the texts of each task use?**")
    description = "Validation texts of every source task, and of the target, through the attention of this step."
    answer = probe_on_demand(found, "by-task", "Route the source tasks' texts", description)
    if answer is not None:
        render_plot(
            plot_routing_by_task,
            found.run,
            **found.stage_and_step,
            highlight=sorted(highlight.experts),
            answer=answer,
            key="tasks",
            caption=_TASKS_CAPTION,
            filename=f"{found.run.id}-tasks",
            on_pick=make_pick_handler(EXPERTS_KEY),
        )


def render_forced_routing(found: SnapshotSelection, highlight: Highlight) -> None:
    """Show loss and right answers with every text at each expert in turn, once it is asked for."""
    st.markdown("**What if every text went to one expert?**")
    right = right_answers_noun(found.run)
    description = (
        f"Each validation text at each expert in turn: loss and {right}, and the best expert against the chosen one."
    )
    answer = probe_on_demand(found, "forced-routing", "Force every expert", description)
    if answer is None:
        return
    result = counterfactual_from_answer(answer)
    count, evaluated = len(result.chosen_experts), found.run.config.training.validation_rows
    rows = f"On the first {count} of the run's validation texts, without the router's noise"
    st.caption(f"{rows}. Watch scores up to {evaluated}, so its score may differ." if count < evaluated else f"{rows}.")
    with st.container(horizontal=True):
        st.metric(
            "As routed", f"{result.as_routed[1]:.1%}", help=f"{right} on {len(result.chosen_experts)} validation texts"
        )
        st.metric(
            "Best expert per text",
            f"{result.best_case[1]:.1%}",
            f"{result.best_case[1] - result.as_routed[1]:+.1%}",
        )
        st.metric(
            "Routed to the best", f"{result.agreement:.0%}", help="texts routed to the expert with the lowest loss"
        )
    for column, what in zip(st.columns(2, gap="medium"), ("accuracy", "loss"), strict=True):
        with column:
            render_plot(
                plot_forced_routing,
                found.run,
                what,
                **found.stage_and_step,
                highlight=sorted(highlight.experts),
                answer=answer,
                key=f"forced-{what}",
                caption=_FORCED_CAPTION.format(what="loss" if what == "loss" else right),
                filename=f"{found.run.id}-forced-{what}",
                toolbar=False,
                on_pick=make_pick_handler(EXPERTS_KEY),
            )
    render_plot(
        plot_routing_loss_increases,
        found.run,
        **found.stage_and_step,
        highlight=sorted(highlight.experts),
        highlight_texts=sorted(highlight.texts),
        answer=answer,
        key="rises",
        caption=_INCREASES_CAPTION,
        filename=f"{found.run.id}-rises",
        title="Each text at each expert",
        on_pick=make_pick_handler(TEXTS_KEY),
    )


def retrain_form(found: SnapshotSelection) -> None:
    """Offer the hyperparameters that change the routing, and a form filled in with them."""
    config = found.run.config.checked()
    offered = {
        name: info
        for name, info in list_methods()[config.method].hyperparameters.items()
        if info.declaration.affects_routing
    }
    if not offered:
        return
    st.markdown("**Retrain with another routing**")
    values = dict(config.hyperparameters)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, info in offered.items():
            now = replace(info, default=values[name])
            values[name] = hyperparameter_input(f"again-{found.run.id}-{name}", now, bind=None)
    address = form_query_params(replace(config, hyperparameters=values))
    st.page_link(NEW_RUN_PAGE, label="Open the form with these settings", icon=":material/tune:", query_params=address)
