"""Going on with a run that is over: hold it, make it longer, and make it ready to be worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ptviz.runs import snapshots
from ptviz.runs.atomic_io import StoreError, atomic_write
from ptviz.runs.run import Run
from ptviz.runs.status import ACTIVE_STATES, Status
from ptviz.runs.store import encode_config
from ptviz.runs.writer import exclusive, write_status


@contextmanager
def locked_idle_run(run: Run) -> Iterator[Status]:
    """Hold a run that nobody works on and that waits for nobody.

    Raises:
        StoreError: if it is running or queued.
    """
    if (state := run.status().state) in ACTIVE_STATES:
        raise StoreError(f"run {run.id} is {state}: stop it first")
    with exclusive(run) as status:
        if status.state == "queued":
            raise StoreError(f"run {run.id} is queued: stop it first")
        yield status


def plan_extension(run: Run, status: Status, steps: int) -> Status:
    """Plan ``steps`` more for a run at rest; the status to write.

    The learning rate follows, from where it goes on, the schedule of a run planned at the new total, without a
    second warm-up: the warm-up keeps its number of steps. Early stopping counts its patience anew.

    Raises:
        ValueError: if ``steps`` is not positive.
        StoreError: if the run cannot be written.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: expected how many more, at least 1; got {steps!r}")
    config = run.config
    old = config.training
    total = old.steps + steps
    begun = old.begun or old.steps
    training = replace(old, steps=total, begun=begun, warmup=round(old.warmup * old.steps) / total)
    longer = replace(config, training=training, planned=(*config.planned, old.steps))
    kept = run.resume_state()
    if kept is not None and "stale" in kept.progress:
        patient = kept._replace(progress={**kept.progress, "stale": 0})
        snapshots.write_resume_state(run.path / "resume.safetensors", patient)
    atomic_write(run.path / "config.json", encode_config(longer))
    return status.with_changes(steps=total)


def prepare_resume(run: Run, steps: int = 0) -> None:
    """Make a run that is over ready for ``work`` in this process, ``steps`` longer than it was.

    Raises:
        StoreError: if it is running or queued, has made all its steps and gets no more, or cannot be written.
    """
    with locked_idle_run(run) as status:
        if steps:
            status = plan_extension(run, status, steps)
        elif status.state == "finished":
            raise StoreError(f"run {run.id} has made all its steps; extend it to go on")
        (run.path / "stop").unlink(missing_ok=True)
        write_status(run.path, status.with_changes(state="stopped", reason="about to go on", pid=None))
