"""LoRA and full fine-tuning beside a comparison of methods: what is trained, a button that trains the rest."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from statistics import fmean

import pandas as pd
import streamlit as st

from ptviz.experiments.comparison import comparison_command
from ptviz.experiments.reference_record import KINDS, TITLES, Kind, ReferenceRecord, ReferenceResult, summarise
from ptviz.runs import RunConfig, StoreError
from ptviz.tasks.metrics import Metric, recorded_metric
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components.errors import error_box, run_and_rerun, show_errors
from ptviz.ui.components.formatting import format_duration
from ptviz.ui.heavy_libraries import load_libraries
from ptviz.ui.train.run_page import REFRESH_SECONDS
from ptviz.worker.background_jobs import ReferenceJob, cancel_job, current_reference_job, submit_job

_CAPTION = (
    "References train the backbone itself, on the same examples, seeds and steps, and are not methods of the survey: "
    "low-rank updates by PEFT ([Hu et al. 2022](https://arxiv.org/abs/2106.09685)), or every weight but the word "
    "embeddings and the output layer. Each trains a copy; full fine-tuning needs about four times the memory of the "
    "weights."
)


def seed_configs(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return one config for each seed of a comparison: a reference is the same for every method."""
    return list({config.training.seed: config for config in reversed(configs)}.values())[::-1]


def reference_scores(configs: Sequence[RunConfig]) -> dict[str, float]:
    """Return the mean validation score of each reference that is trained on every seed, by its title."""
    try:
        results, wanted = _known_results(ReferenceRecord(), configs), seed_configs(configs)
    except StoreError:  # A damaged record takes the lines and not the chart; ``render_references`` names it.
        return {}
    scores = {kind: [one.validation for one in results if one.kind == kind] for kind in KINDS}
    return {TITLES[kind]: fmean(own) for kind, own in scores.items() if len(own) == len(wanted)}


def _known_results(record: ReferenceRecord, configs: Sequence[RunConfig]) -> list[ReferenceResult]:
    return [
        found for kind in KINDS for config in seed_configs(configs) if (found := record.find(kind, config)) is not None
    ]


def render_references(configs: Sequence[RunConfig]) -> None:
    """Show the results of the references of a comparison, the button that trains the missing ones, and the command."""
    known = _known_results(ReferenceRecord(), configs)
    with st.expander("References: LoRA and full fine-tuning", icon=":material/align_horizontal_left:", expanded=True):
        running = _is_running()
        st.fragment(_render, run_every=REFRESH_SECONDS if running else None)(tuple(configs), running, len(known))


def _render(configs: tuple[RunConfig, ...], running: bool, count: int) -> None:
    with show_errors():
        record = ReferenceRecord()
        known = _known_results(record, configs)
        if _is_running() != running or len(known) != count:  # The chart has a line for each.
            st.rerun()
        if running:
            get_client().ensure_worker()
        if known:
            _render_table(known)
        _render_controls(record, configs, known)
        st.caption(_CAPTION)


def _is_running() -> bool:
    job = current_reference_job(get_store())
    return job is not None and not job.problem


def _render_table(known: Sequence[ReferenceResult]) -> None:
    metric = recorded_metric(known[0].metric)
    share = st.column_config.NumberColumn(format="percent" if metric.unit else "%.2f")
    config = {name: share for name in ("Test", "sd")} | {"Trained": st.column_config.NumberColumn(format="localized")}
    frame = pd.DataFrame(reference_rows(known, metric)).dropna(axis="columns", how="all")
    st.dataframe(frame, hide_index=True, height="content", alt="Results of the references", column_config=config)


def reference_rows(known: Sequence[ReferenceResult], metric: Metric) -> list[dict[str, object]]:
    """Return one row for each reference: score, spread, trained parameters, learning rate, time and seeds."""
    return [
        {
            "Reference": TITLES[one["reference"]],
            "Test": round(one["mean"], 3),
            "sd": None if one["sd"] is None else round(one["sd"], 3),
            "Trained": one["trained"],
            "Learning rate": f"{one['lr']:g}{'' if one['tuned'] else ' (not tuned)'}",
            "Seconds": round(one["seconds"]),
            "Seeds": len(one["seeds"]),
        }
        for one in summarise(known)
    ]


def _render_controls(record: ReferenceRecord, configs: Sequence[RunConfig], known: Sequence[ReferenceResult]) -> None:
    """Show the progress, and the buttons and the command that train what is missing or stop that."""
    store, seeds = get_store(), seed_configs(configs)
    job = current_reference_job(store)
    if job is not None and job.problem:
        error_box(job.problem)
    size = len(KINDS) * len(seeds)
    missing: list[Kind] = [k for k in KINDS if sum(one.kind == k for one in known) < len(seeds)]
    if not missing or visitor_rules() is not None:  # They train a whole backbone, which is for the teacher.
        return
    progress = f"{len(known)} of {size} trainings are done."
    if job is not None and not job.problem:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(len(known) / size, text=progress)
            if st.button("Stop", icon=":material/stop:", key="references-stop"):
                run_and_rerun(lambda: cancel_job(store, ReferenceJob))
        return
    if find_spec("peft") is None and "lora" in missing:
        st.caption('LoRA needs PEFT: `pip install "ptviz[references]"`')
        missing.remove("lora")
    with st.container(horizontal=True, vertical_alignment="center"):
        for kind in missing:
            if st.button(
                f"Train {TITLES[kind]}",
                icon=":material/flag:",
                key=f"references-{kind}",
                help="in the background, while no run trains; after a stop, what is missing is trained",
            ):
                run_and_rerun(lambda kind=kind: _enqueue(kind, seeds))  # type: ignore[misc]
        st.caption(f"{progress} {_time_left(record, missing, seeds, known)}".rstrip())
        with st.popover("In a terminal"):
            st.code(f"{comparison_command(configs)} --references lora,full", language="shell", wrap_lines=True)


def _time_left(
    record: ReferenceRecord, missing: Sequence[Kind], seeds: Sequence[RunConfig], known: Sequence[ReferenceResult]
) -> str:
    parts = []
    for kind in missing:
        each = record.estimate_seconds(kind, seeds[0])
        left = len(seeds) - sum(one.kind == kind for one in known)
        if each is not None:
            parts.append(f"{TITLES[kind]} takes about {format_duration(each * left)}")
    return f"{'; '.join(parts)}." if parts else "How long one takes is known after the first."


def _enqueue(kind: Kind, configs: Sequence[RunConfig]) -> None:
    load_libraries()
    from ptviz.engine.model_cache import load_run_task  # It needs torch.

    load_run_task(configs[0])  # A task that cannot be read is refused here, where the reader sees it.
    submit_job(get_store(), ReferenceJob.of_configs([kind], configs))
    get_client().ensure_worker()
