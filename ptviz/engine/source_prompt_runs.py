"""Source prompts as runs of plain prompt tuning, found in the store or trained into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.same_training import is_same_training
from ptviz.runs.source_runs import SOURCE_RUN_NAME
from ptviz.runs.store import Store
from ptviz.training import SourcePromptReady
from ptviz.training.source_prompts import (
    SOURCE_METHOD,
    make_source_config,
    make_source_prompt,
    source_hyperparameters,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.methods.source_prompt import SourcePrompt

TrainSourceRun = Callable[[Run], None]
"""Trains a source prompt's run, and leaves it unfinished if a stop was requested."""


def source_run_configs(config: RunConfig, m: int, family: str = "") -> list[RunConfig]:
    """Return the configs of the source prompts of a run: one for each source task, of m tokens."""
    training = make_source_config(config.training)
    return [
        RunConfig(
            config.backbone, task, SOURCE_METHOD, source_hyperparameters(m), training,
            name=f"{SOURCE_RUN_NAME}{task}", device=config.device, table=config.table.for_every_task(),
        ).checked()
        for task in config.source_tasks(family)
    ]  # fmt: skip


def find_source_run(store: Store, wanted: RunConfig) -> Run | None:
    """Return the run that trains what ``wanted`` asks for: finished, or else one that can be continued; or None.

    The oldest finished one if there are several, so that all runs of a comparison use the same. A finished one may have
    any owner, since it is only read; one that is continued must have that of the store.
    """
    unfinished: Run | None = None
    for summary in reversed(store.list()):
        if summary.config.method != wanted.method or not is_same_training(store, summary, wanted):
            continue
        if summary.status.state == "finished":
            return store.get(summary.id)
        if summary.status.state in ("queued", "stopped") and summary.annotations.owner == store.owner:
            unfinished = store.get(summary.id)
    return unfinished


def collect_source_prompts(
    store: Store, config: RunConfig, m: int, make: TrainSourceRun, family: str = ""
) -> Iterator[tuple[SourcePromptReady, SourcePrompt]]:
    """Yield the source prompts of a run in order; those missing in the store are trained as runs of its owner.

    Ends early if ``make`` leaves a run unfinished because a stop was requested.

    Raises:
        StoreError: if a source prompt failed, with its reason.
    """
    for wanted in source_run_configs(config, m, family):
        run = find_source_run(store, wanted)
        reused = run is not None and run.status().state == "finished"
        if run is None or not reused:
            run = run or store.create(wanted)
            make(run)
        status = run.status()
        if status.state == "failed":
            raise StoreError(f"the source prompt of {wanted.task} (run {run.id}) failed: {status.reason}")
        if status.state != "finished":
            return
        accuracy = float(status.accuracy or 0.0)
        yield SourcePromptReady(wanted.task, run.id, accuracy, reused), load_source_prompt(run, wanted.task, accuracy)


def load_source_prompt(run: Run, task: str, accuracy: float) -> SourcePrompt:
    """Load the source prompt of a finished run."""
    path: dict[int, dict[str, Tensor]] = {info.step: run.snapshot(info.stage, info.step) for info in run.snapshots()}
    return make_source_prompt(task, run.prompt(), path, accuracy, run.id)
