"""Waywardness on the page Embeddings: prompts that are pulled to a sentence, and the score that this costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from ptviz.analysis.waywardness import prompt_f1
from ptviz.experiments.planned_runs import find_runs, start_runs
from ptviz.methods import list_methods
from ptviz.plots import plot_waywardness
from ptviz.plots.waywardness import measure_waywardness
from ptviz.profanity import mask_text
from ptviz.runs import ACTIVE_STATES, Run, RunConfig
from ptviz.tasks.metrics import shared_metric
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.look.look_page import SnapshotSelection, load_run_vocabulary

LESSON = (
    "Nearest words do not explain a prompt: its [[waywardness]]. [Khashabi et al. "
    "2022](https://aclanthology.org/2022.naacl-main.266) pulled prompts to any sentence they liked, even about "
    "another task, and lost little accuracy. **Try:** a sentence of yours that has nothing to do with the task."
)
_CAPTION = (
    "How to read it: one mark per run, its weight gamma above it; the open circle was not pulled. Further right: more "
    "of the nearest words (by L2) occur in the sentence. Higher: a larger loss of test {metric}. Low and to the right "
    "is wayward: it solves the task and reads as something else."
)
_DEFAULT_SENTENCE = "classify the sentiment of this movie review as positive or negative"
_DEFAULT_GAMMAS = (0.0001, 0.001, 0.01, 0.1)


def render_waywardness(found: SnapshotSelection) -> None:
    """Show the form and, once there are such runs, the figure; nothing for methods that cannot be pulled."""
    config = found.run.config
    if config.method not in list_methods() or "toward" not in list_methods()[config.method].hyperparameters:
        return
    st.header("Waywardness")
    render_markdown(LESSON)
    known = _comparable_runs(config)
    if known:
        _render_figure(found, known)
    with show_errors():
        _training_form(config, str(known[0].config.hyperparameters["toward"]) if known else _DEFAULT_SENTENCE)


def _comparable_runs(config: RunConfig) -> list[Run]:
    """Return finished runs pulled to one sentence that differ only in gamma and seed: this run's, else the newest."""
    near = [
        summary
        for summary in get_store().list_targets()
        if (summary.config.method, summary.config.backbone, summary.config.task)
        == (config.method, config.backbone, config.task)
        and summary.config.hyperparameters.get("toward")
    ]
    if not near:
        return []
    wanted = _comparison_key(config if config.hyperparameters.get("toward") else near[0].config)
    return [get_store().get(s.id) for s in near if s.status.state == "finished" and _comparison_key(s.config) == wanted]


def _comparison_key(config: RunConfig) -> str:
    training = replace(config.training, seed=0)
    values = {**config.hyperparameters, "gamma": 0.0}
    return replace(config, hyperparameters=values, training=training).training_fingerprint


def _render_figure(found: SnapshotSelection, runs: list[Run]) -> None:
    words = load_run_vocabulary(found.run)
    if words is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    info = measure_waywardness(runs)
    st.text(f"The sentence: {info.sentence}")
    metric = shared_metric(run.metric for run in runs)
    caption, filename = _CAPTION.format(metric=metric.noun), f"{found.run.id}-wayward"
    render_plot(plot_waywardness, runs, key="wayward", caption=caption, filename=filename)
    column, factor = (f"{metric.noun} (%)", 100) if metric.unit else (metric.noun, 1)
    with st.expander("What the prompts read as"):
        rows = [
            {
                "gamma": p.run.gamma,
                "seed": p.run.seed,
                column: factor * p.run.accuracy,
                "F1": p.f1,
                "nearest words": mask_text(p.run.nearest_words),
            }
            for p in info.points
        ]
        st.dataframe(
            rows,
            hide_index=True,
            column_config={
                "gamma": st.column_config.NumberColumn(format="%g"),
                column: st.column_config.NumberColumn(format="%.1f" if metric.unit else "%.2f"),
                "F1": st.column_config.NumberColumn(format="%.2f"),
            },
        )


def _training_form(config: RunConfig, usual: str) -> None:
    """Show the form of more such runs, one for each gamma; existing ones are reused."""
    with st.expander("Train prompts that are pulled to a sentence", icon=":material/model_training:"):
        sentence = st.text_input("sentence", usual, key="wayward-sentence", max_chars=300).strip()
        left, right = st.columns([2, 1])
        gammas = left.multiselect(
            "gamma, the weight of the pull", _DEFAULT_GAMMAS, _DEFAULT_GAMMAS[:3], key="wayward-gammas"
        )
        m = right.number_input("prompt tokens", 1, 200, max(1, len(sentence.split())), key="wayward-m")
        if not prompt_f1(sentence, sentence):
            st.caption("Type a sentence of at least one word.")
            return
        st.caption("The prompt starts as the sentence, cut or repeated to its length. One more run is not pulled.")
        pull: dict[str, Any] = {"init": "text", "text": sentence, "toward": sentence, "m": int(m)}
        fresh = replace(config, name="", parent=None, planned=(), start=None)
        configs = [
            replace(fresh, hyperparameters={**config.hyperparameters, **pull, "gamma": gamma}).checked()
            for gamma in (0.0, *sorted(gammas))
        ]
        st.code("\n".join(config.shell_command() for config in configs), language="shell", wrap_lines=True)
        missing = [
            entry for entry in find_runs(get_store(), configs) if entry.state not in ("finished", *ACTIVE_STATES)
        ]
        label = f"Train {len(missing)} runs" if missing else "All are trained"
        if st.button(label, icon=":material/play_arrow:", key="wayward-train", disabled=not missing):
            start_runs(get_client(), missing)
            st.success(f"{len(missing)} runs are queued. The figure grows as they finish.")
