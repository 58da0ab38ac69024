"""What other routings would be worth: one expert for all, other temperatures, other tasks' texts, another run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import RoutingCounterfactual, compute_counterfactual
from ptviz.figures import routing_counterfactuals as drawn
from ptviz.figures.linked_selection import dim_bars, dim_cells, make_pickable
from ptviz.probes.routing import TEMPERATURE_FACTORS
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.forms import hyperparameter_input
from ptviz.ui.components.linked_selection import make_pick_handler
from ptviz.ui.look.inspect_run import SnapshotSelection
from ptviz.ui.look.on_demand import probe_on_demand, probe_request
from ptviz.ui.navigation import COMPOSE_PAGE, form_query_params

EXPERTS_KEY, TEXTS_KEY = "experts", "texts"
"""The brushes of the page, in the session and in the address: experts or sources, and validation texts."""
_FORCED_FIELDS = "weights", "losses", "right", "loss", "hit"
_CODE_LINES = (
    "import numpy as np", "from ptviz.analysis.routing import compute_counterfactual",
    "from ptviz.plots.material import expert_names",
    f"found = compute_counterfactual(*(np.array(answer[key]) for key in {_FORCED_FIELDS}))",
)  # fmt: skip
_FORCED_CAPTION = (
    "How to read it: one bar an expert: the validation texts' {what} if all of them went to it. The grey line is the "
    "method's own routing, the dashed green one the best expert of each text. Bars as good as the grey line say that "
    "the routing decides little."
)
_INCREASES_CAPTION = (
    "How to read it: one row a text, those first where the choice costs most. Orange: the text would cost more at this "
    "expert than where it goes; blue: less. The dot is the expert chosen."
)
_TEMPERATURE_CAPTION = (
    "How to read it: the same prompts and scores, mixed more sharply to the left (down to the largest one only) and "
    "more evenly to the right. The dotted line is the trained temperature, the ring the one chosen above."
)
_TASKS_CAPTION = (
    "How to read it: one row a task: which prompts its texts would take under this method. If the rows look alike, the "
    "attention does not tell the tasks apart."
)


@dataclass(frozen=True)
class Highlight:
    """What stands out in every panel: experts or sources by their places, validation texts by theirs."""

    experts: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()


def temperature_slider(found: SnapshotSelection, trained: float | None) -> float:
    """The slider: a multiple of the trained temperature; 0 is the largest weight alone, infinity even weights."""
    names = {drawn.format_factor(factor): factor for factor in TEMPERATURE_FACTORS}
    usual = drawn.format_factor(1.0)
    chosen = st.select_slider(
        "temperature, in multiples of the trained one" + (f" (tau = {trained:.3g})" if trained is not None else ""),
        [*names],
        value=usual,
        key="temperature",
        help=f"{usual} is as trained; left of it the weights grow sharper, right of it more even",
    )
    factor = names[chosen]
    return np.inf if factor is None else factor


def temperature_panel(found: SnapshotSelection, factor: float) -> None:
    """What the mixture is worth at each temperature."""
    st.markdown("**What another temperature would be worth**")
    told = "The same mixture, sharper and more even: accuracy and loss at each temperature."
    answer = probe_on_demand(found, "tempered", "Measure temperatures", told)
    if answer is not None:
        shown = answer["factors"], answer["loss"], answer["accuracy"]
        at = None if np.isinf(factor) else factor
        python = scripts.run_probe_script(
            found.run, probe_request(found, "tempered"), "routing_counterfactuals",
            f'draw_temperature(answer["factors"], answer["loss"], answer["accuracy"], {at!r})', "temperature",
        )  # fmt: skip
        figure_panel(drawn.draw_temperature(*shown, at),
        f"{drawn.describe_temperature(*shown)} On {answer['rows']} validation texts.",
              _TEMPERATURE_CAPTION, key="tempered", name=f"{found.run.id}-temperature", python=python)  # fmt: skip


def task_routing_panel(found: SnapshotSelection, names: list[str], chosen: Highlight) -> None:
    """Where the texts of the source tasks would go, beside those of the target."""
    if not found.run.config.source_tasks():
        return
    st.markdown("**Whose prompts do the texts of each task take?**")
    told = "Validation texts of every source task, and of the target, through the attention of this step."
    answer = probe_on_demand(found, "by-task", "Route the source tasks' texts", told)
    if answer is not None:
        weights = np.array(answer["weights"])
        python = scripts.run_probe_script(
            found.run, probe_request(found, "by-task"), "routing_counterfactuals",
            'draw_task_routing(weights, answer["tasks"], expert_names(run, weights.shape[1]), answer["rows"])', "tasks",
            "import numpy as np", 'weights = np.array(answer["weights"])',
            "from ptviz.plots.material import expert_names",
            after=scripts.dim_cells_code((), chosen.experts),
        )  # fmt: skip
        figure = drawn.draw_task_routing(weights, answer["tasks"], names, answer["rows"])
        figure_panel(dim_cells(make_pickable(figure, range(len(names)), columns=True), (), chosen.experts),
              drawn.describe_task_routing(weights, answer["tasks"], names), _TASKS_CAPTION, key="tasks",
              name=f"{found.run.id}-tasks", on_pick=make_pick_handler(EXPERTS_KEY), python=python)  # fmt: skip


def force_expert_panel(found: SnapshotSelection, names: list[str], chosen: Highlight) -> None:
    """Every text to every expert in turn."""
    st.markdown("**What if every text went to one expert?**")
    told = "Each validation text at each expert in turn: loss and accuracy, and the best expert against the chosen one."
    answer = probe_on_demand(found, "forced", "Force every expert", told)
    if answer is None:
        return
    info = compute_counterfactual(*(np.array(answer[key]) for key in _FORCED_FIELDS))
    with st.container(horizontal=True):
        st.metric(
            "As routed", f"{info.as_routed[1]:.1%}", help=f"accuracy on {len(info.chosen_experts)} validation texts"
        )
        st.metric(
            "Each text at its best expert", f"{info.best_case[1]:.1%}", f"{info.best_case[1] - info.as_routed[1]:+.1%}"
        )
        st.metric("Chosen is best", f"{info.agreement:.0%}", help="texts that go where they cost least")
    for column, what in zip(st.columns(2, gap="medium"), ("accuracy", "loss"), strict=True):
        with column:
            python = scripts.run_probe_script(
                found.run, probe_request(found, "forced"), "routing_counterfactuals",
                f"draw_counterfactual(found, expert_names(run, len(found.loss)), {what!r})",
                f"forced-{what}", *_CODE_LINES,
                after=scripts.dim_code("dim_bars", chosen.experts),
            )  # fmt: skip
            figure = make_pickable(drawn.draw_counterfactual(info, names, what), range(len(names)))
            figure_panel(dim_bars(figure, chosen.experts), drawn.describe_counterfactual(info, names, what),
                  _FORCED_CAPTION.format(what=what), key=f"forced-{what}", name=f"{found.run.id}-forced-{what}",
                  tools=False, on_pick=make_pick_handler(EXPERTS_KEY), python=python)  # fmt: skip
    _loss_increases_panel(found, info, answer, names, chosen)


def _loss_increases_panel(
    found: SnapshotSelection, info: RoutingCounterfactual, answer: dict[str, Any], names: list[str], chosen: Highlight
) -> None:
    order = np.argsort(info.loss_increases.min(1), kind="stable").tolist()
    texts = [
        f"{answer['classes'][label]}: {text}" for label, text in zip(answer["labels"], answer["texts"], strict=True)
    ]
    rows = [place for place, i in enumerate(order) if i in chosen.texts]
    python = scripts.run_probe_script(
        found.run, probe_request(found, "forced"), "routing_counterfactuals",
        "draw_loss_increases(found, order, expert_names(run, len(found.loss)), texts)", "rises", *_CODE_LINES,
        'order = np.argsort(found.rises.min(1), kind="stable").tolist()',
        'pairs = zip(answer["labels"], answer["texts"])',
        "texts = [f\"{answer['classes'][label]}: {text}\" for label, text in pairs]",
        after=scripts.dim_cells_code(rows, chosen.experts),
    )  # fmt: skip
    figure = make_pickable(drawn.draw_loss_increases(info, order, names, texts), order)
    figure_panel(dim_cells(figure, rows, chosen.experts), drawn.describe_loss_increases(info, names),
    _INCREASES_CAPTION, key="rises",
          name=f"{found.run.id}-rises", title="Each text at each expert", on_pick=make_pick_handler(TEXTS_KEY),
          python=python)  # fmt: skip


def retrain_form(found: SnapshotSelection) -> None:
    """The knobs that change the routing, and a form filled in with them."""
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import hyperparameters_of

    config = found.run.config.checked()
    offered = {
        name: info
        for name, info in hyperparameters_of(REGISTRY[config.method]).items()
        if info.declaration.affects_routing
    }
    if not offered:
        return
    st.markdown("**Train it again with another routing**")
    values = dict(config.knobs)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, info in offered.items():
            now = replace(info, default=values[name])
            values[name] = hyperparameter_input(f"again-{found.run.id}-{name}", now, bind=None)
    st.page_link(COMPOSE_PAGE, label="Open the form with these settings", icon=":material/tune:",
                 query_params=form_query_params(replace(config, knobs=values)))  # fmt: skip
