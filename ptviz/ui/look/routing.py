"""The page Routing: where the inputs of a routed method go, over the steps, by class, and for one's own sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import RoutingSummary, rescale_temperature
from ptviz.plots import (
    plot_expert_loads,
    plot_routing,
    plot_routing_balance,
    plot_routing_by_class,
    plot_sentence_routing,
    plot_tensor_view,
)
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.routing import TEXT_ORDERS, RoutedTexts, TextOrder, expert_names, load_expert_loads
from ptviz.plots.tensor_views import views_for_axes
from ptviz.ui.backend import request_answer
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.glossary import meaning
from ptviz.ui.look import look_page, routing_counterfactuals
from ptviz.ui.look.look_page import SnapshotSelection, poll_request
from ptviz.ui.look.routing_counterfactuals import EXPERTS_KEY, TEXTS_KEY, Highlight

LESSON = (
    "Some methods have several prompts, their [[expert|experts]], and a [[router]] chooses among them for every "
    "input. The choice is learned and may collapse to one expert. **Try:** see what the experts specialise in, and "
    "type a sentence of your own."
)
_LOAD_CAPTION = (
    "How to read it: the share of each training batch that every expert got, smoothed, with the router's noise if the "
    "method has any. Even bands are a good balance; a band that vanishes is a dead expert. The vertical line is the "
    "selected step."
)
_BALANCE_CAPTION = (
    "How to read it: exp(entropy) of the load on training batches, as a share of the experts: 1 is even. On the dotted "
    "line, one expert gets everything."
)
_CONFUSION_CAPTION = (
    "How to read it: one row per class, its inputs counted by the expert with the largest weight. If the rows look "
    "alike, the experts do not specialise in classes; the mutual information measures how far they do."
)
_ROUTING_CAPTION = (
    "How to read it: one row per validation text, bright where an expert gets much weight. Hover over a row to read "
    "the text; click it to highlight it on the whole page."
)
_SENTENCE_CAPTION = "How to read it: one bar per expert or source: its weight for your sentence."


def has_routing(method: str) -> bool:
    """Return whether a method has tensors that count experts or sources, on any backbone."""
    return bool(cached_by_signature(("routed", method), lambda: _has_routing(method)))


def _has_routing(method: str) -> bool:
    from ptviz.methods import build_method, list_methods
    from ptviz.prompt import Spec

    if method not in list_methods():
        return False
    tensors = build_method(method, Spec.from_sizes(8, 1, 1, 8, 4, ("a", "b"))).tensors()
    return any("k" in tensor.axes for tensor in tensors.values())


def render_routing(found: SnapshotSelection) -> None:
    """Show every panel of the page at the selected step."""
    loads = load_expert_loads(found.run)
    if loads is None:
        st.markdown(
            "This method gives every input the same prompt, so there is nothing to route. Train SMoP or another "
            "method with experts, or choose such a run above."
        )
        return
    names = expert_names(found.run, loads.loads.shape[1])
    experts = linked_selection.highlight_box(
        "experts or sources to highlight", range(len(names)), found.run.id, EXPERTS_KEY, named=names.__getitem__
    )
    _render_load(found, experts)
    answer = poll_request(
        ("route", found.run.id, found.snapshot.stage, found.snapshot.step),
        lambda: request_answer("route", found.run.id, texts=[], stage=found.snapshot.stage, step=found.snapshot.step),
    )
    highlight = Highlight(experts)
    if answer is None:
        st.caption("The worker is routing the validation texts with the prompt of this step.")
    else:
        highlight = _render_routed_texts(found, answer, names, experts)
    _render_expert_views(found, names, experts)
    routing_counterfactuals.render_task_routing(found, highlight)
    routing_counterfactuals.render_forced_routing(found, highlight)
    routing_counterfactuals.retrain_form(found)


def _render_load(found: SnapshotSelection, experts: frozenset[int]) -> None:
    left, right = st.columns([2, 1], gap="medium")
    with left:
        render_plot(
            plot_expert_loads,
            found.run,
            **found.stage_and_step,
            highlight=sorted(experts),
            key="load",
            caption=_LOAD_CAPTION,
            filename=f"{found.run.id}-load",
            title="Expert load during training",
        )
    with right:
        render_plot(
            plot_routing_balance,
            found.run,
            **found.stage_and_step,
            key="balance",
            caption=_BALANCE_CAPTION,
            filename=f"{found.run.id}-balance",
            title="Balance",
            toolbar=False,
        )


def _render_routed_texts(
    found: SnapshotSelection, answer: dict[str, Any], names: list[str], experts: frozenset[int]
) -> Highlight:
    """Show the validation texts and one's own sentence; the weights of a mixture at the slider's temperature."""
    temperature = 1.0
    if answer["mixes"]:
        tau = look_page.load_tensor_histories(found).get("tau")
        temperature = routing_counterfactuals.temperature_slider(None if tau is None else float(tau.current))
    highlight = _render_inputs(found, answer, names, temperature, experts)
    if answer["mixes"]:
        routing_counterfactuals.render_temperatures(found, temperature)
    return highlight


def _render_inputs(
    found: SnapshotSelection, answer: dict[str, Any], names: list[str], temperature: float, experts: frozenset[int]
) -> Highlight:
    routed = RoutedTexts.from_answer(answer, temperature)
    by_class = bool(routed.classes)
    orders = [order for order in TEXT_ORDERS if by_class or order != "class"]
    _render_metrics(routed.summary, by_class)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sort: TextOrder = (
            st.segmented_control("sort the texts by", orders, default=orders[0], key="sort", bind="query-params")
            or orders[0]
        )
        texts = linked_selection.highlight_box(
            "texts to highlight", range(len(routed.weights)), found.run.id, TEXTS_KEY
        )
    _render_highlighted_texts(routed, names, texts)
    options: dict[str, Any] = {
        **found.stage_and_step,
        "temperature": temperature,
        "highlight": sorted(experts),
        "answer": answer,
    }
    left, right = st.columns(2, gap="medium")
    with left:
        if by_class:
            render_plot(
                plot_routing_by_class,
                found.run,
                **options,
                key="confusion",
                caption=_CONFUSION_CAPTION,
                filename=f"{found.run.id}-classes",
                title="Classes and experts",
                toolbar=False,
                on_pick=linked_selection.make_pick_handler(EXPERTS_KEY),
            )
        _render_own_sentence(found, names, temperature, experts)
    with right:
        render_plot(
            plot_routing,
            found.run,
            **options,
            sort=sort,
            highlight_texts=sorted(texts),
            key="inputs",
            caption=_ROUTING_CAPTION,
            filename=f"{found.run.id}-inputs",
            title="Every validation text",
            on_pick=linked_selection.make_pick_handler(TEXTS_KEY),
        )
    return Highlight(experts, texts)


def _render_highlighted_texts(routed: RoutedTexts, names: list[str], texts: frozenset[int]) -> None:
    """Show the highlighted texts in a table."""
    if texts:
        rows = [
            {
                "number": number,
                "text": routed.texts[number],
                **({"class": routed.classes[routed.labels[number]]} if routed.classes else {}),
                "goes to": names[int(routed.weights[number].argmax())],
                "weight": f"{routed.weights[number].max():.0%}",
            }
            for number in sorted(texts)
        ]
        st.dataframe(rows, hide_index=True)


def _render_metrics(info: RoutingSummary, by_class: bool) -> None:
    k = len(info.mean_weights)
    st.caption(
        f"On {len(info.experts)} validation texts, at the selected step and without the router's noise: an expert that "
        "gets training texts through noise alone is dead here."
    )
    with st.container(horizontal=True):
        st.metric("Balance", f"{info.balance:z.2f}", help=f"1 is even, {1 / k:z.2f} is one expert for everything")
        st.metric("Dead experts", f"{int(info.dead.sum())} of {k}", help="experts that win less than 1% of the texts")
        st.metric(
            "Routing entropy",
            f"{info.entropy:.2f} nats",
            help=f"{meaning('routing entropy')} Mean over texts; at most {np.log(k):.2f}.",
        )
        if by_class:
            st.metric(
                "Mutual information with the class",
                f"{info.mutual_information:z.2f} nats",
                help=f"between class and expert; at most the entropy of the classes, {info.class_entropy:z.2f}",
            )


def _render_expert_views(found: SnapshotSelection, names: list[str], experts: frozenset[int]) -> None:
    """Show how similar the experts are: every view of the whole tensors that count experts."""
    for name, history in look_page.load_tensor_histories(found).items():
        if "k" not in history.axes or len(history.axes) < 2:
            continue
        sources, count = found.run.config.source_tasks(), len(history.current)
        if sources and history.axes[0] == "k":
            st.caption(f"{name}, from 0: " + ", ".join(f"{i} {source}" for i, source in enumerate(names[:count])) + ".")
        views = [view for view in views_for_axes(history.axes) if view.needs_all_axes]
        for column, view in zip(st.columns(max(2, len(views)), gap="medium"), views, strict=False):
            with column:
                render_plot(
                    plot_tensor_view,
                    found.run,
                    view.name,
                    **found.stage_and_step,
                    part=name,
                    highlight=sorted(experts),
                    highlight_axis="k",
                    key=f"experts-{name}-{view.name}",
                    caption=view.caption,
                    filename=f"{found.run.id}-{name}-{view.name}",
                    title=f"{view.title}: {name}",
                    toolbar=False,
                    on_pick=linked_selection.make_pick_handler(EXPERTS_KEY),
                )


def _render_own_sentence(
    found: SnapshotSelection, names: list[str], temperature: float, experts: frozenset[int]
) -> None:
    text = st.text_input("Try it: where does your sentence go?", key="own", max_chars=2000, bind="query-params").strip()
    if not text:
        return
    snapshot = found.snapshot.stage, found.snapshot.step
    answer = poll_request(
        ("route", found.run.id, snapshot, text),
        lambda: request_answer("route", found.run.id, texts=[text], **found.stage_and_step),
    )
    if answer is None:
        st.caption("The worker is routing your sentence.")
        return
    weights = rescale_temperature(np.array(answer["weights"]), temperature)[0]
    shares = ", ".join(f"{name} {weight:.0%}" for name, weight in zip(names, weights, strict=True))
    st.text(f"To {names[int(weights.argmax())]}: {shares}")
    render_plot(
        plot_sentence_routing,
        found.run,
        text,
        **found.stage_and_step,
        temperature=temperature,
        highlight=sorted(experts),
        answer=answer,
        key="sentence",
        caption=_SENTENCE_CAPTION,
        filename=f"{found.run.id}-sentence",
        toolbar=False,
        on_pick=linked_selection.make_pick_handler(EXPERTS_KEY),
    )
