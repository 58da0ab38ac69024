"""Where the inputs of a routed method go: over the steps, by class, and for a sentence of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import ExpertLoadCurve, RoutingSummary, rescale_temperature, summarise_routing
from ptviz.figures import routing as drawn
from ptviz.figures.heatmap import describe_bars, draw_bars
from ptviz.figures.linked_selection import dim_bars, dim_cells, dim_traces, make_pickable
from ptviz.figures.routing_counterfactuals import describe_balance, draw_balance
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.material import expert_names, load_expert_loads
from ptviz.plots.views import views_for_axes
from ptviz.ui import scripts
from ptviz.ui.backend import request_answer
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.look import inspect_run, routing_counterfactuals
from ptviz.ui.look.inspect_run import SnapshotSelection, poll_request
from ptviz.ui.look.routing_counterfactuals import EXPERTS_KEY, TEXTS_KEY, Highlight

LESSON = (
    "Some methods keep several prompts and decide for every input which ones it gets. The decision is learned, and it "
    "can go wrong: one expert may take everything. **Try:** see whether the experts share out the classes, and type a "
    "sentence of your own."
)
_LOAD_CAPTION = (
    "How to read it: the share of each training batch that every expert won, smoothed. Even bands are a good balance; "
    "a band that vanishes is an expert that died. The upright line is the step chosen above."
)
_BALANCE_CAPTION = (
    "How to read it: exp(entropy) of the load, as a share of the experts: 1 is even. On the dotted line, one expert "
    "gets everything."
)
_CONFUSION_CAPTION = (
    "How to read it: one row a class, its inputs counted by the expert that won them. If the rows look alike, the "
    "experts do not divide the work by class; the mutual information says how far they do."
)
_ROUTING_CAPTION = (
    "How to read it: one row a validation text, bright where an expert gets much weight. Rest the pointer on a row to "
    "read the text; click it to follow it through the page."
)
_SENTENCE_CAPTION = "How to read it: one bar an expert or source: how much of it your sentence gets."


def has_routing(method: str) -> bool:
    """Whether a method has parts that count experts or sources: asked of its parts, on no backbone."""
    return bool(cached_by_signature(("routed", method), lambda: _has_routing(method)))


def _has_routing(method: str) -> bool:
    from ptviz.methods import REGISTRY, build_method
    from ptviz.prompt import Spec

    if method not in REGISTRY:
        return False
    parts = build_method(method, Spec.from_sizes(8, 1, 1, 8, 4, ("a", "b"))).tensors()
    return any("k" in part.axes for part in parts.values())


def render_routing(found: SnapshotSelection) -> None:
    """Every panel of the page at one step."""
    spread = load_expert_loads(found.run)
    if spread is None:
        st.markdown(
            "This method gives every input the same prompt, so there is nothing to route. Train SMoP or another "
            "method with experts, or choose such a run above."
        )
        return
    names = expert_names(found.run, spread.loads.shape[1])
    experts = linked_selection.highlight_box(
        "experts or sources to highlight", range(len(names)), found.run.id, EXPERTS_KEY, named=names.__getitem__
    )
    _render_load(found, spread, names, experts)
    answer = poll_request(
        ("route", found.run.id, found.snapshot.stage, found.snapshot.step),
        lambda: request_answer("route", found.run.id, texts=[], stage=found.snapshot.stage, step=found.snapshot.step),
    )
    chosen = Highlight(experts)
    if answer is None:
        st.caption("The worker is routing the validation texts with the prompt of this step.")
    else:
        chosen = _render_routed_texts(found, answer, names, experts)
    _render_expert_views(found, names, experts)
    routing_counterfactuals.task_routing_panel(found, names, chosen)
    routing_counterfactuals.force_expert_panel(found, names, chosen)
    routing_counterfactuals.retrain_form(found)


def _render_load(found: SnapshotSelection, spread: ExpertLoadCurve, names: list[str], experts: frozenset[int]) -> None:
    at = found.positions[found.index]
    lines = "from ptviz.plots.material import load_expert_loads", "curve = load_expert_loads(run)"
    left, right = st.columns([2, 1], gap="medium")
    with left:
        python = scripts.run_script(
            found.run, "routing", f"draw_expert_load(curve, expert_names(run, curve.loads.shape[1]), {at})",
            "load", *lines,
            "from ptviz.plots.material import expert_names", after=scripts.dim_code("dim_traces", experts),
        )  # fmt: skip
        figure_panel(dim_traces(drawn.draw_expert_load(spread, names, at), experts),
        drawn.describe_expert_load(spread, names), _LOAD_CAPTION,
              key="load", name=f"{found.run.id}-load", title="Load while it trained", python=python)  # fmt: skip
    with right:
        python = scripts.run_script(
            found.run, "routing_counterfactuals", f"draw_balance(curve, {at})", "balance", *lines
        )
        figure_panel(draw_balance(spread, at), describe_balance(spread), _BALANCE_CAPTION, key="balance",
              name=f"{found.run.id}-balance", title="Balance", tools=False, python=python)  # fmt: skip


def _render_routed_texts(
    found: SnapshotSelection, answer: dict[str, Any], names: list[str], experts: frozenset[int]
) -> Highlight:
    """The validation texts and a sentence of one's own; a mixture's weights at the temperature of the slider."""
    factor = 1.0
    if answer["mixes"]:
        tau = inspect_run.load_tensor_histories(found).get("tau")
        factor = routing_counterfactuals.temperature_slider(found, None if tau is None else float(tau.current))
    chosen = _render_inputs(found, answer, names, factor, experts)
    if answer["mixes"]:
        routing_counterfactuals.temperature_panel(found, factor)
    return chosen


def _render_inputs(
    found: SnapshotSelection, answer: dict[str, Any], names: list[str], factor: float, experts: frozenset[int]
) -> Highlight:
    weights = rescale_temperature(np.array(answer["weights"], dtype=np.float64), factor)
    labels, classes = np.array(answer["labels"], dtype=np.int64), list(answer["classes"])
    info = summarise_routing(weights, labels, len(classes))
    _render_metrics(info)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = _sort_texts(weights, labels, info)
        texts = linked_selection.highlight_box("texts to highlight", range(len(weights)), found.run.id, TEXTS_KEY)
    _render_highlighted_texts(answer, weights, classes, names, texts)
    asked_for = {"kind": "route", "texts": [], "stage": found.snapshot.stage, "step": found.snapshot.step}
    lines = (
        "import numpy as np", "from ptviz.analysis.routing import summarise_routing, rescale_temperature",
        f'weights = tempered(np.array(answer["weights"]), {_factor_code(factor)})',
        'labels, classes = np.array(answer["labels"]), answer["classes"]',
        "from ptviz.plots.material import expert_names", "names = expert_names(run, weights.shape[1])",
    )  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        python = scripts.run_probe_script(
            found.run, asked_for, "routing",
            "draw_confusion(summarise_routing(weights, labels, len(classes)), classes, names)",
            "classes", *lines, after=scripts.dim_cells_code((), experts),
        )  # fmt: skip
        figure = make_pickable(drawn.draw_confusion(info, classes, names), range(len(names)), columns=True)
        figure_panel(dim_cells(figure, (), experts), drawn.describe_confusion(info, classes, names),
        _CONFUSION_CAPTION, key="confusion",
              name=f"{found.run.id}-classes", title="Classes and experts", tools=False,
              on_pick=linked_selection.make_pick_handler(EXPERTS_KEY), python=python)  # fmt: skip
        _render_own_sentence(found, names, factor, experts)
    with right:
        told = [f"{classes[labels[i]]}: {answer['texts'][i]}" for i in order]
        rows = [place for place, i in enumerate(order) if i in texts]
        python = scripts.run_probe_script(
            found.run, asked_for, "routing", "draw_input_routing(weights[order], names, texts)", "inputs", *lines,
            f"order = {order}", 'texts = [f"{classes[labels[i]]}: {answer[\'texts\'][i]}" for i in order]',
            after=scripts.dim_cells_code(rows, experts),
        )  # fmt: skip
        figure = make_pickable(drawn.draw_input_routing(weights[order], names, told), order)
        figure_panel(dim_cells(figure, rows, experts), drawn.describe_input_routing(weights, names),
        _ROUTING_CAPTION, key="inputs",
              name=f"{found.run.id}-inputs", title="Every validation text",
              on_pick=linked_selection.make_pick_handler(TEXTS_KEY),
              python=python)  # fmt: skip
    return Highlight(experts, texts)


def _factor_code(factor: float) -> str:
    return "np.inf" if np.isinf(factor) else repr(factor)


def _render_highlighted_texts(
    answer: dict[str, Any], weights: np.ndarray, classes: list[str], names: list[str], texts: frozenset[int]
) -> None:
    """The texts to stand out, in words."""
    if texts:
        rows = [
            {
                "number": number,
                "text": answer["texts"][number],
                "class": classes[answer["labels"][number]],
                "goes to": names[int(weights[number].argmax())],
                "weight": f"{weights[number].max():.0%}",
            }
            for number in sorted(texts)
        ]
        st.dataframe(rows, hide_index=True)


def _render_metrics(info: RoutingSummary) -> None:
    k = len(info.mean_weights)
    with st.container(horizontal=True):
        st.metric("Balance", f"{info.balance:.2f}", help=f"1 is even, {1 / k:.2f} is one expert for everything")
        st.metric("Dead experts", f"{int(info.dead.sum())} of {k}", help="experts that win less than 1 % of the texts")
        st.metric(
            "Undecided", f"{info.entropy:.2f} nats", help=f"mean entropy of one text's weights; at most {np.log(k):.2f}"
        )
        st.metric(
            "Told about the class",
            f"{info.mutual_information:.2f} nats",
            help=f"mutual information of class and expert; knowing the class is worth {info.class_entropy:.2f}",
        )


def _sort_texts(weights: np.ndarray, labels: np.ndarray, info: RoutingSummary) -> list[int]:
    by = st.segmented_control(
        "sort the texts by", ("class", "expert", "certainty"), default="class", key="sort", bind="query-params"
    )
    keys = {
        "class": (-weights.max(1), info.experts, labels),
        "expert": (-weights.max(1), info.experts),
        "certainty": (-weights.max(1),),
    }
    order: list[int] = np.lexsort(keys[by or "class"]).tolist()
    return order


def _render_expert_views(found: SnapshotSelection, names: list[str], experts: frozenset[int]) -> None:
    """How alike the experts are: every whole view of the parts that count experts."""
    for name, track in inspect_run.load_tensor_histories(found).items():
        if "k" not in track.axes or len(track.axes) < 2:
            continue
        sources, count = found.run.config.source_tasks(), len(track.current)
        if sources and track.axes[0] == "k":
            st.caption(f"{name}, from 0: " + ", ".join(f"{i} {told}" for i, told in enumerate(names[:count])) + ".")
        whole = [view for view in views_for_axes(track.axes) if view.needs_all_axes]
        for column, view in zip(st.columns(max(2, len(whole)), gap="medium"), whole, strict=False):
            with column:
                info = view.analyse(track)
                figure, after = view.draw(info), []
                if track.axes[0] == "k" and count <= len(names):  # the last of them may be the target, outside the part
                    one = figure.data and figure.data[0].type == "bar"
                    make_pickable(figure, range(count))
                    dim_bars(figure, experts) if one else dim_cells(figure, experts, experts)
                    after = scripts.dim_code("dim_bars", experts) if one else scripts.dim_cells_code(experts, experts)
                figure_panel(figure, view.describe(info), view.caption, key=f"experts-{name}-{view.name}",
                      name=f"{found.run.id}-{name}-{view.name}", title=f"{view.title}: {name}", tools=False,
                      on_pick=linked_selection.make_pick_handler(EXPERTS_KEY),
                      python=scripts.view_script(found.run, track, view, after=after))  # fmt: skip


def _render_own_sentence(found: SnapshotSelection, names: list[str], factor: float, experts: frozenset[int]) -> None:
    text = st.text_input("Try it: where does your sentence go?", key="own", max_chars=2000, bind="query-params").strip()
    if not text:
        return
    stage, step = found.snapshot.stage, found.snapshot.step
    answer = poll_request(
        ("route", found.run.id, (stage, step), text),
        lambda: request_answer("route", found.run.id, texts=[text], stage=stage, step=step),
    )
    if answer is None:
        st.caption("Asking the worker.")
        return
    weights = rescale_temperature(np.array(answer["weights"]), factor)[0]
    st.text(
        f"To {names[int(weights.argmax())]}: " + ", ".join(f"{n} {w:.0%}" for n, w in zip(names, weights, strict=True))
    )
    python = scripts.run_probe_script(
        found.run, {"kind": "route", "texts": [text], "stage": stage, "step": step}, "heatmap",
        'draw_bars(weights, "expert", "weight", expert_names(run, len(weights)))', "sentence", "import numpy as np",
        "from ptviz.analysis.routing import rescale_temperature", "from ptviz.plots.material import expert_names",
        f'weights = tempered(np.array(answer["weights"]), {_factor_code(factor)})[0]',
        after=scripts.dim_code("dim_bars", experts),
    )  # fmt: skip
    figure = dim_bars(make_pickable(draw_bars(weights, "expert", "weight", names), range(len(names))), experts)
    figure_panel(figure, describe_bars(weights, "expert"), _SENTENCE_CAPTION, key="sentence",
    name=f"{found.run.id}-sentence",
          tools=False, on_pick=linked_selection.make_pick_handler(EXPERTS_KEY), python=python)  # fmt: skip
