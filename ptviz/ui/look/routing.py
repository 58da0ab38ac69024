"""Where the inputs of a routed method go: over the steps, by class, and for a sentence of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import LoadCurve, Routing, routing, tempered
from ptviz.figures import routing as drawn
from ptviz.figures.heatmap import draw_bars, tell_bars
from ptviz.figures.linked_selection import dim, dim_bars, dim_traces, pickable
from ptviz.figures.routing_counterfactuals import draw_balance, tell_balance
from ptviz.plots.material import loads_of, names_of
from ptviz.plots.views import views_of
from ptviz.ui import scripts
from ptviz.ui.backend import route
from ptviz.ui.cache import remembered
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.look import inspect_run, routing_counterfactuals
from ptviz.ui.look.inspect_run import Moment, asked
from ptviz.ui.look.routing_counterfactuals import EXPERTS, TEXTS, Chosen

LESSON = (
    "Some methods keep several prompts and decide for every input which ones it gets. The decision is learned, and it "
    "can go wrong: one expert may take everything. **Try:** see whether the experts share out the classes, and type a "
    "sentence of your own."
)
_READ_LOAD = (
    "How to read it: the share of each training batch that every expert won, smoothed. Even bands are a good balance; "
    "a band that vanishes is an expert that died. The upright line is the step chosen above."
)
_READ_BALANCE = (
    "How to read it: exp(entropy) of the load, as a share of the experts: 1 is even. On the dotted line, one expert "
    "gets everything."
)
_READ_CONFUSION = (
    "How to read it: one row a class, its inputs counted by the expert that won them. If the rows look alike, the "
    "experts do not divide the work by class; the mutual information says how far they do."
)
_READ_ROUTING = (
    "How to read it: one row a validation text, bright where an expert gets much weight. Rest the pointer on a row to "
    "read the text; click it to follow it through the page."
)
_READ_OWN = "How to read it: one bar an expert or source: how much of it your sentence gets."


def routed(method: str) -> bool:
    """Whether a method has parts that count experts or sources: asked of its parts, on no backbone."""
    return bool(remembered(("routed", method), lambda: _routed(method)))


def _routed(method: str) -> bool:
    from ptviz.methods import REGISTRY, build
    from ptviz.prompt import Spec

    if method not in REGISTRY:
        return False
    parts = build(method, Spec.of_shape(8, 1, 1, 8, 4, ("a", "b"))).parts()
    return any("k" in part.axes for part in parts.values())


def show(found: Moment) -> None:
    """Every panel of the page at one step."""
    spread = loads_of(found.run)
    if spread is None:
        st.markdown(
            "This method gives every input the same prompt, so there is nothing to route. Train SMoP or another "
            "method with experts, or choose such a run above."
        )
        return
    names = names_of(found.run, spread.loads.shape[1])
    experts = linked_selection.box(
        "experts or sources to highlight", range(len(names)), found.run.id, EXPERTS, named=names.__getitem__
    )
    _load(found, spread, names, experts)
    answer = asked(
        ("route", found.run.id, found.here.stage, found.here.step),
        lambda: route(found.run.id, [], found.here.stage, found.here.step),
    )
    chosen = Chosen(experts)
    if answer is None:
        st.caption("The worker is routing the validation texts with the prompt of this step.")
    else:
        chosen = _routed_texts(found, answer, names, experts)
    _experts(found, names, experts)
    routing_counterfactuals.tasks(found, names, chosen)
    routing_counterfactuals.forcing(found, names, chosen)
    routing_counterfactuals.again(found)


def _load(found: Moment, spread: LoadCurve, names: list[str], experts: frozenset[int]) -> None:
    at = found.positions[found.at]
    lines = "from ptviz.plots.material import loads_of", "curve = loads_of(run)"
    left, right = st.columns([2, 1], gap="medium")
    with left:
        python = scripts.of_run(
            found.run, "routing", f"draw_load(curve, names_of(run, curve.loads.shape[1]), {at})", "load", *lines,
            "from ptviz.plots.material import names_of", after=scripts.dimmed_by("dim_traces", experts),
        )  # fmt: skip
        panel(dim_traces(drawn.draw_load(spread, names, at), experts), drawn.tell_load(spread, names), _READ_LOAD,
              key="load", name=f"{found.run.id}-load", title="Load while it trained", python=python)  # fmt: skip
    with right:
        python = scripts.of_run(found.run, "rerouting", f"draw_balance(curve, {at})", "balance", *lines)
        panel(draw_balance(spread, at), tell_balance(spread), _READ_BALANCE, key="balance",
              name=f"{found.run.id}-balance", title="Balance", tools=False, python=python)  # fmt: skip


def _routed_texts(found: Moment, answer: dict[str, Any], names: list[str], experts: frozenset[int]) -> Chosen:
    """The validation texts and a sentence of one's own; a mixture's weights at the temperature of the slider."""
    factor = 1.0
    if answer["mixes"]:
        tau = inspect_run.tracks(found).get("tau")
        factor = routing_counterfactuals.temperature(found, None if tau is None else float(tau.now))
    chosen = _inputs(found, answer, names, factor, experts)
    if answer["mixes"]:
        routing_counterfactuals.tempering(found, factor)
    return chosen


def _inputs(found: Moment, answer: dict[str, Any], names: list[str], factor: float, experts: frozenset[int]) -> Chosen:
    weights = tempered(np.array(answer["weights"], dtype=np.float64), factor)
    labels, classes = np.array(answer["labels"], dtype=np.int64), list(answer["classes"])
    info = routing(weights, labels, len(classes))
    _numbers(info)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = _order(weights, labels, info)
        texts = linked_selection.box("texts to highlight", range(len(weights)), found.run.id, TEXTS)
    _followed(answer, weights, classes, names, texts)
    asked_for = {"kind": "route", "texts": [], "stage": found.here.stage, "step": found.here.step}
    lines = (
        "import numpy as np", "from ptviz.analysis.routing import routing, tempered",
        f'weights = tempered(np.array(answer["weights"]), {_told(factor)})',
        'labels, classes = np.array(answer["labels"]), answer["classes"]',
        "from ptviz.plots.material import names_of", "names = names_of(run, weights.shape[1])",
    )  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        python = scripts.answered(
            found.run, asked_for, "routing", "draw_confusion(routing(weights, labels, len(classes)), classes, names)",
            "classes", *lines, after=scripts.dimmed((), experts),
        )  # fmt: skip
        figure = pickable(drawn.draw_confusion(info, classes, names), range(len(names)), columns=True)
        panel(dim(figure, (), experts), drawn.tell_routing(info, classes, names), _READ_CONFUSION, key="confusion",
              name=f"{found.run.id}-classes", title="Classes and experts", tools=False,
              on_pick=linked_selection.picker(EXPERTS), python=python)  # fmt: skip
        _own(found, names, factor, experts)
    with right:
        told = [f"{classes[labels[i]]}: {answer['texts'][i]}" for i in order]
        rows = [place for place, i in enumerate(order) if i in texts]
        python = scripts.answered(
            found.run, asked_for, "routing", "draw_routing(weights[order], names, texts)", "inputs", *lines,
            f"order = {order}", 'texts = [f"{classes[labels[i]]}: {answer[\'texts\'][i]}" for i in order]',
            after=scripts.dimmed(rows, experts),
        )  # fmt: skip
        figure = pickable(drawn.draw_routing(weights[order], names, told), order)
        panel(dim(figure, rows, experts), drawn.tell_inputs(weights, names), _READ_ROUTING, key="inputs",
              name=f"{found.run.id}-inputs", title="Every validation text", on_pick=linked_selection.picker(TEXTS),
              python=python)  # fmt: skip
    return Chosen(experts, texts)


def _told(factor: float) -> str:
    return "np.inf" if np.isinf(factor) else repr(factor)


def _followed(
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


def _numbers(info: Routing) -> None:
    k = len(info.load)
    with st.container(horizontal=True):
        st.metric("Balance", f"{info.balance:.2f}", help=f"1 is even, {1 / k:.2f} is one expert for everything")
        st.metric("Dead experts", f"{int(info.dead.sum())} of {k}", help="experts that win less than 1 % of the texts")
        st.metric(
            "Undecided", f"{info.entropy:.2f} nats", help=f"mean entropy of one text's weights; at most {np.log(k):.2f}"
        )
        st.metric(
            "Told about the class",
            f"{info.information:.2f} nats",
            help=f"mutual information of class and expert; knowing the class is worth {info.class_entropy:.2f}",
        )


def _order(weights: np.ndarray, labels: np.ndarray, info: Routing) -> list[int]:
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


def _experts(found: Moment, names: list[str], experts: frozenset[int]) -> None:
    """How alike the experts are: every whole view of the parts that count experts."""
    for name, track in inspect_run.tracks(found).items():
        if "k" not in track.axes or len(track.axes) < 2:
            continue
        sources, count = found.run.config.source_tasks(), len(track.now)
        if sources and track.axes[0] == "k":
            st.caption(f"{name}, from 0: " + ", ".join(f"{i} {told}" for i, told in enumerate(names[:count])) + ".")
        whole = [view for view in views_of(track.axes) if view.whole]
        for column, view in zip(st.columns(max(2, len(whole)), gap="medium"), whole, strict=False):
            with column:
                info = view.analyse(track)
                figure, after = view.draw(info), []
                if track.axes[0] == "k" and count <= len(names):  # the last of them may be the target, outside the part
                    one = figure.data and figure.data[0].type == "bar"
                    pickable(figure, range(count))
                    dim_bars(figure, experts) if one else dim(figure, experts, experts)
                    after = scripts.dimmed_by("dim_bars", experts) if one else scripts.dimmed(experts, experts)
                panel(figure, view.tell(info), view.read, key=f"experts-{name}-{view.name}",
                      name=f"{found.run.id}-{name}-{view.name}", title=f"{view.title}: {name}", tools=False,
                      on_pick=linked_selection.picker(EXPERTS),
                      python=scripts.view(found.run, track, view, after=after))  # fmt: skip


def _own(found: Moment, names: list[str], factor: float, experts: frozenset[int]) -> None:
    text = st.text_input("Try it: where does your sentence go?", key="own", max_chars=2000, bind="query-params").strip()
    if not text:
        return
    place = found.here.stage, found.here.step
    answer = asked(("route", found.run.id, place, text), lambda: route(found.run.id, [text], *place))
    if answer is None:
        st.caption("Asking the worker.")
        return
    weights = tempered(np.array(answer["weights"]), factor)[0]
    st.text(
        f"To {names[int(weights.argmax())]}: " + ", ".join(f"{n} {w:.0%}" for n, w in zip(names, weights, strict=True))
    )
    python = scripts.answered(
        found.run, {"kind": "route", "texts": [text], "stage": place[0], "step": place[1]}, "matrix",
        'draw_bars(weights, "expert", "weight", names_of(run, len(weights)))', "sentence", "import numpy as np",
        "from ptviz.analysis.routing import tempered", "from ptviz.plots.material import names_of",
        f'weights = tempered(np.array(answer["weights"]), {_told(factor)})[0]',
        after=scripts.dimmed_by("dim_bars", experts),
    )  # fmt: skip
    figure = dim_bars(pickable(draw_bars(weights, "expert", "weight", names), range(len(names))), experts)
    panel(figure, tell_bars(weights, "expert"), _READ_OWN, key="sentence", name=f"{found.run.id}-sentence",
          tools=False, on_pick=linked_selection.picker(EXPERTS), python=python)  # fmt: skip
