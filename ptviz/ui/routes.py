"""Where the inputs of a routed method go: over the steps, by class, and for a sentence of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.routing import LoadCurve, Routing, load_curve, routing, tempered
from ptviz.figures import routing as drawn
from ptviz.figures.matrix import draw_bars, tell_bars
from ptviz.figures.rerouting import draw_balance, tell_balance
from ptviz.runs import Run
from ptviz.ui import inside, rerouting
from ptviz.ui.inside import Moment, asked
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.ui.services import route
from ptviz.views import views_of

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
    "read the text."
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
    curve = found.run.curve()
    loads = [load for load in curve.loads if load]
    if not loads:
        st.markdown(
            "This method gives every input the same prompt, so there is nothing to route. Train SMoP or another "
            "method with experts, or choose such a run above."
        )
        return
    wide = max(map(len, loads))
    places = [i for i, load in enumerate(curve.loads) if len(load) == wide]
    spread = load_curve(curve.positions[places], np.array([curve.loads[i] for i in places]))
    names = _names(found.run, wide)
    _load(found, spread, names)
    answer = asked(
        ("route", found.run.id, found.here.stage, found.here.step),
        lambda: route(found.run.id, [], found.here.stage, found.here.step),
    )
    if answer is None:
        st.caption("The worker is routing the validation texts with the prompt of this step.")
    else:
        _routed_texts(found, answer, names)
    _experts(found)
    rerouting.tasks(found, names)
    rerouting.forcing(found, names)
    rerouting.again(found)


def _names(run: Run, count: int) -> list[str]:
    """Source tasks by their names, experts by their numbers; what is beyond the sources is the target's own."""
    sources = list(run.config.source_tasks())
    if not sources:
        return [f"expert {i}" for i in range(count)]
    return [*sources, *["target"] * (count - len(sources))][:count]


def _load(found: Moment, spread: LoadCurve, names: list[str]) -> None:
    at = found.positions[found.at]
    left, right = st.columns([2, 1], gap="medium")
    with left:
        panel(drawn.draw_load(spread, names, at), drawn.tell_load(spread, names), _READ_LOAD, key="load",
              name=f"{found.run.id}-load", title="Load while it trained")  # fmt: skip
    with right:
        panel(draw_balance(spread, at), tell_balance(spread), _READ_BALANCE, key="balance",
              name=f"{found.run.id}-balance", title="Balance", tools=False)  # fmt: skip


def _routed_texts(found: Moment, answer: dict[str, Any], names: list[str]) -> None:
    """The validation texts and a sentence of one's own; a mixture's weights at the temperature of the slider."""
    factor = 1.0
    if answer["mixes"]:
        tau = inside.tracks(found).get("tau")
        factor = rerouting.temperature(found, None if tau is None else float(tau.now))
    _inputs(found, answer, names, factor)
    _own(found, names, factor)
    if answer["mixes"]:
        rerouting.tempering(found, factor)


def _inputs(found: Moment, answer: dict[str, Any], names: list[str], factor: float) -> None:
    weights = tempered(np.array(answer["weights"], dtype=np.float64), factor)
    labels, classes = np.array(answer["labels"], dtype=np.int64), list(answer["classes"])
    info = routing(weights, labels, len(classes))
    _numbers(info)
    order = _order(weights, labels, info, classes)
    left, right = st.columns(2, gap="medium")
    with left:
        panel(drawn.draw_confusion(info, classes, names), drawn.tell_routing(info, classes, names), _READ_CONFUSION,
              key="confusion", name=f"{found.run.id}-classes", title="Classes and experts", tools=False)  # fmt: skip
    with right:
        texts = [f"{classes[labels[i]]}: {answer['texts'][i]}" for i in order]
        alt = f"Routing weights of {len(weights)} validation texts over {len(names)} experts."
        panel(drawn.draw_routing(weights[order], names, texts), alt, _READ_ROUTING, key="inputs",
              name=f"{found.run.id}-inputs", title="Every validation text")  # fmt: skip


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


def _order(weights: np.ndarray, labels: np.ndarray, info: Routing, classes: list[str]) -> list[int]:
    by = st.segmented_control("sort the texts by", ("class", "expert", "certainty"), default="class", key="sort")
    keys = {
        "class": (-weights.max(1), info.experts, labels),
        "expert": (-weights.max(1), info.experts),
        "certainty": (-weights.max(1),),
    }
    order: list[int] = np.lexsort(keys[by or "class"]).tolist()
    return order


def _experts(found: Moment) -> None:
    """How alike the experts are: every whole view of the parts that count experts."""
    for name, track in inside.tracks(found).items():
        whole = [view for view in views_of(track.axes) if view.whole and "k" in track.axes and len(track.axes) > 1]
        for column, view in zip(st.columns(max(2, len(whole)), gap="medium"), whole, strict=False):
            with column:
                info = view.analyse(track)
                panel(view.draw(info), view.tell(info), view.read, key=f"experts-{name}-{view.name}",
                      name=f"{found.run.id}-{name}-{view.name}", title=f"{view.title}: {name}",
                      tools=False)  # fmt: skip


def _own(found: Moment, names: list[str], factor: float) -> None:
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
    panel(draw_bars(weights, "expert", "weight", names), tell_bars(weights, "expert"), _READ_OWN, key="sentence",
          name=f"{found.run.id}-sentence", tools=False)  # fmt: skip
