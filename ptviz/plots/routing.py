"""Where a routed method sends its inputs: over the training, by class, text by text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from ptviz.analysis.routing import (
    ExpertLoadCurve,
    RoutingSummary,
    compute_expert_load,
    rescale_temperature,
    summarise_routing,
)
from ptviz.figures import routing as drawn
from ptviz.figures.heatmap import describe_bars, draw_bars
from ptviz.figures.linked_selection import dim_bars, dim_cells, dim_traces, make_pickable
from ptviz.figures.routing_counterfactuals import describe_balance, draw_balance
from ptviz.methods.listing import NO_ROUTING
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer, probe
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.plots.training_curves import run_position
from ptviz.runs import Run, StoreError

TextOrder = Literal["class", "expert", "certainty"]
TEXT_ORDERS: tuple[TextOrder, ...] = get_args(TextOrder)


@dataclass(frozen=True, eq=False)
class RoutedTexts:
    """The validation texts of a run with their routing weights at some temperature; no labels without classes."""

    weights: Float[np.ndarray, "n k"]
    labels: Int[np.ndarray, " l"]
    texts: list[str]
    classes: list[str]
    summary: RoutingSummary

    @classmethod
    def from_answer(cls, answer: Answer, temperature: float = 1.0) -> RoutedTexts:
        """Read the worker's answer to the request "route"."""
        weights = rescale_temperature(np.array(answer["weights"], dtype=np.float64), temperature)
        labels, classes = np.array(answer["labels"], dtype=np.int64), list(answer["classes"])
        return cls(weights, labels, answer["texts"], classes, summarise_routing(weights, labels, len(classes)))

    @property
    def titles(self) -> list[str]:
        """Return the texts, each with the name of its class ahead if there are classes."""
        return title_texts(self.texts, self.labels.tolist(), self.classes)

    def order(self, by: TextOrder) -> list[int]:
        """Return the indices of the texts by class, by expert, or the most certain first."""
        certainty = -self.weights.max(1)
        keys = {
            "class": (certainty, self.summary.experts, *([self.labels] if len(self.labels) else [])),
            "expert": (certainty, self.summary.experts),
            "certainty": (certainty,),
        }
        order: list[int] = np.lexsort(keys[by]).tolist()
        return order


def load_expert_loads(run: Run) -> ExpertLoadCurve | None:
    """Return the share of each batch that every expert or source got while a run trained; None if it routes nothing.

    Stages may route over fewer sources than the target's own: only the steps with the most are returned.
    """
    curve = run.history()
    count = max(map(len, curve.routing_loads), default=0)
    if not count:
        return None
    kept = [i for i, load in enumerate(curve.routing_loads) if len(load) == count]
    return compute_expert_load(curve.global_steps[kept], np.array([curve.routing_loads[i] for i in kept]))


def expert_names(run: Run, count: int) -> list[str]:
    """Return the names of a run's experts: source tasks by their names, the target last, experts by number."""
    sources = list(run.config.source_tasks())
    if not sources:
        return [f"expert {i}" for i in range(count)]
    return [*sources, *["target"] * (count - len(sources))][:count]


def plot_expert_loads(
    run: RunOrId, *, stage: int = 0, step: int | None = None, highlight: Collection[int] = ()
) -> go.Figure:
    """Draw the smoothed share of each training batch that every expert got, stacked, over the steps of a run.

    ``step`` of ``stage`` is marked; experts that are not in ``highlight`` are dimmed.
    """
    run = get_run(run)
    curve = _expert_loads(run)
    names = expert_names(run, curve.loads.shape[1])
    figure = dim_traces(drawn.draw_expert_load(curve, names, run_position(run, stage, step)), highlight)
    return with_alt(figure, drawn.describe_expert_load(curve, names))


def plot_routing_balance(run: RunOrId, *, stage: int = 0, step: int | None = None) -> go.Figure:
    """Draw the balance of the load over the steps of a run: exp(entropy) as a share of the number of experts."""
    run = get_run(run)
    curve = _expert_loads(run)
    return with_alt(draw_balance(curve, run_position(run, stage, step)), describe_balance(curve))


def _expert_loads(run: Run) -> ExpertLoadCurve:
    curve = load_expert_loads(run)
    if curve is None:
        raise StoreError(f"run {run.id}: {NO_ROUTING}")
    return curve


def title_texts(texts: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Return texts, each with the name of its class ahead; unchanged if there are no labels."""
    if not labels:
        return list(texts)
    return [f"{classes[label]}: {text}" for label, text in zip(labels, texts, strict=True)]


def plot_routing_by_class(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    temperature: float = 1.0,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw how the validation texts of each class (row) spread over the experts (columns), each text at its largest.

    ``temperature`` is a multiple of the trained one: 0 is the largest weight alone, infinity even weights.
    """
    run = get_run(run)
    routed = _routed_texts(answer, run, stage, step, temperature)
    names = expert_names(run, routed.weights.shape[1])
    figure = drawn.draw_confusion(routed.summary, routed.classes, names)
    make_pickable(figure, range(len(names)), columns=True)
    alt = drawn.describe_confusion(routed.summary, routed.classes, names)
    return with_alt(dim_cells(figure, (), highlight), alt)


def plot_routing(
    run: RunOrId,
    *,
    stage: int = 0,
    step: int | None = None,
    temperature: float = 1.0,
    sort: TextOrder = "class",
    highlight: Collection[int] = (),
    highlight_texts: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the routing weights of every validation text (row) over the experts (columns).

    ``sort`` orders the texts by class, by expert or by certainty; ``highlight`` are experts, ``highlight_texts`` the
    numbers of texts.
    """
    run = get_run(run)
    routed = _routed_texts(answer, run, stage, step, temperature)
    names, order = expert_names(run, routed.weights.shape[1]), routed.order(sort)
    texts = [routed.titles[i] for i in order]
    figure = make_pickable(drawn.draw_input_routing(routed.weights[order], names, texts), order)
    bright = [row for row, i in enumerate(order) if i in highlight_texts]
    return with_alt(dim_cells(figure, bright, highlight), drawn.describe_input_routing(routed.weights, names))


def _routed_texts(answer: Answer | None, run: Run, stage: int, step: int | None, temperature: float) -> RoutedTexts:
    return RoutedTexts.from_answer(probe(answer, run, "route", stage=stage, step=step, texts=[]), temperature)


def plot_sentence_routing(
    run: RunOrId,
    text: str,
    *,
    stage: int = 0,
    step: int | None = None,
    temperature: float = 1.0,
    highlight: Collection[int] = (),
    answer: Answer | None = None,
) -> go.Figure:
    """Draw the routing weights of one sentence, one bar per expert or source."""
    run = get_run(run)
    found = probe(answer, run, "route", stage=stage, step=step, texts=[text])
    weights = rescale_temperature(np.array(found["weights"]), temperature)[0]
    names = expert_names(run, len(weights))
    figure = make_pickable(draw_bars(weights, "expert", "weight", names), range(len(names)))
    return with_alt(dim_bars(figure, highlight), describe_bars(weights, "expert"))
