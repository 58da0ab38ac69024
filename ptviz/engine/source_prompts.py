"""The library of source prompts: runs of plain prompt tuning, found in the store or made and kept there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor

from ptviz.methods.source_prompts import SourcePrompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.store import Store
from ptviz.training import SourceReady
from ptviz.training.source_prompts import METHOD, source_config, source_knobs, source_prompt

Make = Callable[[Run], None]
"""Trains a source prompt's run to its end, or leaves it unfinished when somebody asked to stop."""


def source_runs(config: RunConfig, m: int, family: str = "") -> list[RunConfig]:
    """The runs whose prompts a run with this config wants: one for each source task, of m tokens."""
    training = source_config(config.training)
    return [
        RunConfig(
            backbone=config.backbone, task=task, method=METHOD, knobs=source_knobs(m), training=training,
            name=f"source prompt: {task}", device=config.device,
        ).checked()
        for task in config.source_tasks(family)
    ]  # fmt: skip


def find(store: Store, wanted: RunConfig) -> Run | None:
    """The run that is this one but for its name, its device and how often it was snapped: finished, or to go on with.

    The oldest finished one if there are several, so that every run of a race reuses the same.
    """
    begun: Run | None = None
    for summary in reversed(store.list()):
        try:
            alike = summary.config.method == wanted.method and _same(summary.config.checked(), wanted)
        except ValueError:
            continue  # A run of another version, whose knobs this one does not know.
        if alike and summary.status.state == "finished":
            return store.get(summary.id)
        if alike and summary.status.state in ("queued", "stopped"):
            begun = store.get(summary.id)
    return begun


def _same(made: RunConfig, wanted: RunConfig) -> bool:
    def bare(config: RunConfig) -> RunConfig:
        often = replace(config.training, snapshot_every=1, source_steps=1)
        return replace(config, name="", device=None, training=often)

    return bare(made) == bare(wanted)


def gather(
    store: Store, config: RunConfig, m: int, make: Make, family: str = ""
) -> Iterator[tuple[SourceReady, SourcePrompt]]:
    """The source prompts of a run, one after another; what the store lacks is trained as runs of their own.

    Ends early if ``make`` leaves a run unfinished because somebody asked to stop.

    Raises:
        StoreError: if a source prompt failed, with its reason.
    """
    for wanted in source_runs(config, m, family):
        run = find(store, wanted)
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
        yield SourceReady(wanted.task, run.id, accuracy, reused), read(run, wanted.task, accuracy)


def read(run: Run, task: str, accuracy: float) -> SourcePrompt:
    """The source prompt that a finished run left."""
    places = run.snapshots()
    last: dict[str, Tensor] = run.snapshot(places[-1].stage, places[-1].step)
    return source_prompt(task, run.prompt(), last, accuracy, run.id)
