"""What another routing would change: one expert for every text, other temperatures, the texts of other tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.routing import RoutingCounterfactual, compute_counterfactual
from ptviz.figures import routing_counterfactuals as drawn
from ptviz.figures.linked_selection import dim_bars, dim_cells, make_pickable
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer, measure
from ptviz.plots.routing import expert_names, title_texts
from ptviz.plots.run_argument import RunOrId, get_run, right_answers_noun


def counterfactual_from_answer(answer: Answer) -> RoutingCounterfactual:
    """Read the worker's answer to the probe "forced-routing"."""
    return compute_counterfactual(*(np.array(answer[key]) for key in ("weights", "losses", "right", "loss", "hit")))


def plot_forced_routing(
    run: RunOrId,
    what: Literal["loss", "accuracy"] = "loss",
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the validation loss (nats) or accuracy if every text went to one expert, one bar per expert.

    For target texts, accuracy is the share that is generated exactly.
    """
    run = get_run(run)
    found = counterfactual_from_answer(measure(answer, run, "forced-routing", stage=stage, step=step))
    names = expert_names(run, len(found.loss))
    shown = "loss" if what == "loss" else right_answers_noun(run)
    figure = make_pickable(drawn.draw_counterfactual(found, names, shown), range(len(names)))
    return with_alt(dim_bars(figure, highlight), drawn.describe_counterfactual(found, names, shown))


def plot_routing_loss_increases(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
    highlight_texts: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw how much more each validation text (row) would cost at each expert than at the chosen one, in nats.

    The texts for which the choice costs most come first. ``highlight`` are experts, ``highlight_texts`` the numbers of
    texts.
    """
    run = get_run(run)
    measured = measure(answer, run, "forced-routing", stage=stage, step=step)
    found = counterfactual_from_answer(measured)
    names = expert_names(run, len(found.loss))
    order = np.argsort(found.loss_increases.min(1), kind="stable").tolist()
    texts = title_texts(measured["texts"], measured["labels"], measured["classes"])
    figure = make_pickable(drawn.draw_loss_increases(found, order, names, texts), order)
    bright = [row for row, i in enumerate(order) if i in highlight_texts]
    return with_alt(dim_cells(figure, bright, highlight), drawn.describe_loss_increases(found, names))


def plot_routing_temperatures(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    temperature: float = 1.0,
    answer: Answer | None = None,
) -> go.Figure:
    """Draw validation loss (nats) and accuracy of a mixture at several temperatures, as multiples of the trained one.

    ``temperature`` is marked; infinity stands for even weights.
    """
    found = measure(answer, run, "temperatures", stage=stage, step=step)
    values, noun = (found["factors"], found["loss"], found["accuracy"]), right_answers_noun(run)
    figure = drawn.draw_temperature(*values, None if np.isinf(temperature) else temperature, noun)
    return with_alt(figure, f"{drawn.describe_temperature(*values, noun)} On {found['rows']} validation texts.")


def plot_routing_by_task(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the mean routing weights of the texts of each source task and of the target (rows) over the prompts."""
    run = get_run(run)
    found = measure(answer, run, "by-task", stage=stage, step=step)
    weights = np.array(found["weights"])
    names = expert_names(run, weights.shape[1])
    figure = drawn.draw_task_routing(weights, found["tasks"], names, found["rows"])
    make_pickable(figure, range(len(names)), columns=True)
    return with_alt(dim_cells(figure, (), highlight), drawn.describe_task_routing(weights, found["tasks"], names))
