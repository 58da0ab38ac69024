"""What other routings would be worth: one expert for all, other temperatures, other tasks' texts, another run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import Counterfactual, counterfactual
from ptviz.figures import routing_counterfactuals as drawn
from ptviz.figures.linked_selection import dim, dim_bars, pickable
from ptviz.probes.routing import FACTORS
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.forms import knob
from ptviz.ui.components.linked_selection import picker
from ptviz.ui.look.inspect_run import Moment
from ptviz.ui.look.on_demand import measured, question
from ptviz.ui.navigation import COMPOSE, address_of

EXPERTS, TEXTS = "experts", "texts"
"""The brushes of the page, in the session and in the address: experts or sources, and validation texts."""
_FORCED = "weights", "losses", "right", "loss", "hit"
_LINES = (
    "import numpy as np", "from ptviz.analysis.routing import counterfactual",
    "from ptviz.plots.material import names_of",
    f"found = counterfactual(*(np.array(answer[key]) for key in {_FORCED}))",
)  # fmt: skip
_READ_FORCED = (
    "How to read it: one bar an expert: the validation texts' {what} if all of them went to it. The grey line is the "
    "method's own routing, the dashed green one the best expert of each text. Bars as good as the grey line say that "
    "the routing decides little."
)
_READ_RISES = (
    "How to read it: one row a text, those first where the choice costs most. Orange: the text would cost more at this "
    "expert than where it goes; blue: less. The dot is the expert chosen."
)
_READ_TEMPERED = (
    "How to read it: the same prompts and scores, mixed more sharply to the left (down to the largest one only) and "
    "more evenly to the right. The dotted line is the trained temperature, the ring the one chosen above."
)
_READ_TASKS = (
    "How to read it: one row a task: which prompts its texts would take under this method. If the rows look alike, the "
    "attention does not tell the tasks apart."
)


@dataclass(frozen=True)
class Chosen:
    """What stands out in every panel: experts or sources by their places, validation texts by theirs."""

    experts: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()


def temperature(found: Moment, trained: float | None) -> float:
    """The slider: a multiple of the trained temperature; 0 is the largest weight alone, infinity even weights."""
    names = {drawn.called(factor): factor for factor in FACTORS}
    usual = drawn.called(1.0)
    chosen = st.select_slider(
        "temperature, in multiples of the trained one" + (f" (tau = {trained:.3g})" if trained is not None else ""),
        [*names],
        value=usual,
        key="temperature",
        help=f"{usual} is as trained; left of it the weights grow sharper, right of it more even",
    )
    factor = names[chosen]
    return np.inf if factor is None else factor


def tempering(found: Moment, factor: float) -> None:
    """What the mixture is worth at each temperature."""
    st.markdown("**What another temperature would be worth**")
    told = "The same mixture, sharper and more even: accuracy and loss at each temperature."
    answer = measured(found, "tempered", "Measure temperatures", told)
    if answer is not None:
        shown = answer["factors"], answer["loss"], answer["accuracy"]
        at = None if np.isinf(factor) else factor
        python = scripts.answered(
            found.run, question(found, "tempered"), "rerouting",
            f'draw_tempered(answer["factors"], answer["loss"], answer["accuracy"], {at!r})', "temperature",
        )  # fmt: skip
        panel(drawn.draw_tempered(*shown, at), f"{drawn.tell_tempered(*shown)} On {answer['rows']} validation texts.",
              _READ_TEMPERED, key="tempered", name=f"{found.run.id}-temperature", python=python)  # fmt: skip


def tasks(found: Moment, names: list[str], chosen: Chosen) -> None:
    """Where the texts of the source tasks would go, beside those of the target."""
    if not found.run.config.source_tasks():
        return
    st.markdown("**Whose prompts do the texts of each task take?**")
    told = "Validation texts of every source task, and of the target, through the attention of this step."
    answer = measured(found, "by-task", "Route the source tasks' texts", told)
    if answer is not None:
        weights = np.array(answer["weights"])
        python = scripts.answered(
            found.run, question(found, "by-task"), "rerouting",
            'draw_tasks(weights, answer["tasks"], names_of(run, weights.shape[1]), answer["rows"])', "tasks",
            "import numpy as np", 'weights = np.array(answer["weights"])', "from ptviz.plots.material import names_of",
            after=scripts.dimmed((), chosen.experts),
        )  # fmt: skip
        figure = drawn.draw_tasks(weights, answer["tasks"], names, answer["rows"])
        panel(dim(pickable(figure, range(len(names)), columns=True), (), chosen.experts),
              drawn.tell_tasks(weights, answer["tasks"], names), _READ_TASKS, key="tasks",
              name=f"{found.run.id}-tasks", on_pick=picker(EXPERTS), python=python)  # fmt: skip


def forcing(found: Moment, names: list[str], chosen: Chosen) -> None:
    """Every text to every expert in turn."""
    st.markdown("**What if every text went to one expert?**")
    told = "Each validation text at each expert in turn: loss and accuracy, and the best expert against the chosen one."
    answer = measured(found, "forced", "Force every expert", told)
    if answer is None:
        return
    info = counterfactual(*(np.array(answer[key]) for key in _FORCED))
    with st.container(horizontal=True):
        st.metric("As routed", f"{info.own[1]:.1%}", help=f"accuracy on {len(info.chosen)} validation texts")
        st.metric("Each text at its best expert", f"{info.ideal[1]:.1%}", f"{info.ideal[1] - info.own[1]:+.1%}")
        st.metric("Chosen is best", f"{info.agreement:.0%}", help="texts that go where they cost least")
    for column, what in zip(st.columns(2, gap="medium"), ("accuracy", "loss"), strict=True):
        with column:
            python = scripts.answered(
                found.run, question(found, "forced"), "rerouting",
                f"draw_counterfactual(found, names_of(run, len(found.loss)), {what!r})", f"forced-{what}", *_LINES,
                after=scripts.dimmed_by("dim_bars", chosen.experts),
            )  # fmt: skip
            figure = pickable(drawn.draw_counterfactual(info, names, what), range(len(names)))
            panel(dim_bars(figure, chosen.experts), drawn.tell_counterfactual(info, names, what),
                  _READ_FORCED.format(what=what), key=f"forced-{what}", name=f"{found.run.id}-forced-{what}",
                  tools=False, on_pick=picker(EXPERTS), python=python)  # fmt: skip
    _rises(found, info, answer, names, chosen)


def _rises(found: Moment, info: Counterfactual, answer: dict[str, Any], names: list[str], chosen: Chosen) -> None:
    order = np.argsort(info.rises.min(1), kind="stable").tolist()
    texts = [
        f"{answer['classes'][label]}: {text}" for label, text in zip(answer["labels"], answer["texts"], strict=True)
    ]
    rows = [place for place, i in enumerate(order) if i in chosen.texts]
    python = scripts.answered(
        found.run, question(found, "forced"), "rerouting",
        "draw_rises(found, order, names_of(run, len(found.loss)), texts)", "rises", *_LINES,
        'order = np.argsort(found.rises.min(1), kind="stable").tolist()',
        'pairs = zip(answer["labels"], answer["texts"])',
        "texts = [f\"{answer['classes'][label]}: {text}\" for label, text in pairs]",
        after=scripts.dimmed(rows, chosen.experts),
    )  # fmt: skip
    figure = pickable(drawn.draw_rises(info, order, names, texts), order)
    panel(dim(figure, rows, chosen.experts), drawn.tell_rises(info, names), _READ_RISES, key="rises",
          name=f"{found.run.id}-rises", title="Each text at each expert", on_pick=picker(TEXTS),
          python=python)  # fmt: skip


def again(found: Moment) -> None:
    """The knobs that change the routing, and a form filled in with them."""
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import knobs_of

    config = found.run.config.checked()
    offered = {name: info for name, info in knobs_of(REGISTRY[config.method]).items() if info.knob.routes}
    if not offered:
        return
    st.markdown("**Train it again with another routing**")
    values = dict(config.knobs)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, info in offered.items():
            now = replace(info, default=values[name])
            values[name] = knob(f"again-{found.run.id}-{name}", now, bind=None)
    st.page_link(COMPOSE, label="Open the form with these settings", icon=":material/tune:",
                 query_params=address_of(replace(config, knobs=values)))  # fmt: skip
