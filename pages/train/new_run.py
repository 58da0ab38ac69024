"""The form of a new run, with an estimate of its parameters and time."""

import streamlit as st

from ptviz.plots.method_style import method_title
from ptviz.runs import RunConfig
from ptviz.training import default_learning_rate
from ptviz.ui.components import forms
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.components.run_estimate import render_run_estimate
from ptviz.ui.navigation import preload_for_form, start_run
from ptviz.ui.train import run_form
from ptviz.ui.train.example_preview import render_example_preview

st.title("New run")
render_markdown(
    "Choose a [[frozen]] [[backbone]], a task, and how the prompt enters. The defaults work well. "
    "**Try:** another method."
)
left, right = st.columns([3, 2], gap="large")
config = None

with left, show_errors():
    first, second = st.columns([3, 2], gap="medium")
    with first:
        backbone = run_form.select_backbone()
    with second:
        method = run_form.select_method()
    task = run_form.with_layout_choices(run_form.select_task(), backbone)
    more = run_form.select_more_tasks(method, task)
    preview = st.container()
    st.header(method_title(method))
    begin = run_form.select_start_prompt(backbone, method, more) if backbone else None
    hyperparameters = forms.hyperparameter_form(method)
    target = RunConfig(backbone or "none", task.name or "none", method, table=task.table, more_tasks=more)
    sources = run_form.select_source_tasks(target)
    st.header("Training")
    forms.render_refused_settings()
    steps = forms.steps_input()
    with st.expander("More training settings"):
        training = forms.training_form(steps, default_learning_rate(method, backbone), "by default")
    name = st.text_input(
        "Name of the run", key="name", max_chars=120, placeholder="made from task, method and seed", bind="query-params"
    )
    if backbone and task.name:
        config = RunConfig(
            backbone=backbone,
            task=task.name,
            method=method,
            hyperparameters=hyperparameters,
            training=training,
            name=name,
            text=task.text,
            label=task.label,
            table=task.table,
            sources=sources,
            start=begin,
            more_tasks=more,
        )

with right, show_errors():
    if config is None:
        st.caption("The plan appears here once a backbone and a task are chosen.")
    else:
        estimate = render_run_estimate(config)
        with preview:
            fits = render_example_preview(task, config.backbone, [estimate.slots], config.training.length)
        preload_for_form(config)
        with st.expander("The same run in the shell", icon=":material/terminal:"):
            st.code(config.shell_command(), language="shell", wrap_lines=True)
        if fits and st.button("Start", type="primary", icon=":material/play_arrow:", width="stretch", key="start"):
            start_run(config)
preload_plotly()
