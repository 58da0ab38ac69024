"""Choose backbone, task and method, see the plan, start."""

import streamlit as st

from ptviz.plots.method_style import title_of
from ptviz.runs import RunConfig
from ptviz.training import default_rate
from ptviz.ui.components import forms
from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.components.run_estimate import show_plan
from ptviz.ui.navigation import prepare, start
from ptviz.ui.train import run_form

st.title("New run")
st.markdown(
    "Choose a frozen backbone, a task, and how the prompt enters. The defaults are good ones. Try another method."
)
left, right = st.columns([3, 2], gap="large")

with left, explained():
    first, second = st.columns([3, 2], gap="medium")
    with first:
        backbone = run_form.choose_backbone()
    with second:
        method = run_form.choose_method()
    task = run_form.choose_task()
    st.subheader(title_of(method))
    begin = run_form.choose_start(backbone, method) if backbone else None
    knobs = forms.knob_form(method)
    sources = forms.sources_input(RunConfig(backbone or "none", task.name or "none", method))
    st.subheader("Training")
    steps = forms.steps_input()
    with st.expander("More training settings"):
        training = forms.training_form(steps, default_rate(method, backbone), "by default")
    name = st.text_input(
        "Name of the run", key="name", max_chars=120, placeholder="made from task, method and seed", bind="query-params"
    )

with right, explained():
    if not backbone or not task.name:
        st.caption("The plan appears here once a backbone and a task are chosen.")
    else:
        config = RunConfig(
            backbone, task.name, method, knobs, training, name, text=task.text, label=task.label, sources=sources,
            start=begin,
        )  # fmt: skip
        show_plan(config)
        prepare(config)
        if st.button("Start", type="primary", icon=":material/play_arrow:", width="stretch", key="start"):
            start(config)
preload()
