"""Resume or extend a run that is not active: lock it, check it, and put it in the queue or extend its config.

``ptviz.engine.train_job`` then loads the saved state, from which ``ptviz.training.trainer`` continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ptviz.runs.placement import place_locally
from ptviz.runs.run import Run, check_writable
from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.runs.same_training import check_same_files
from ptviz.runs.status import ACTIVE_STATES, Status
from ptviz.runs.stop_request import remove_stop_request
from ptviz.runs.store import changing_config, encode_config
from ptviz.runs.writer import exclusive, write_status


@contextmanager
def locked_idle_run(run: Run) -> Iterator[Status]:
    """Hold the lock of a run that is neither active nor queued, and yield its status.

    Raises:
        StoreError: if it is a recorded run, running or queued, or a file it was trained on was changed since.
    """
    check_writable(run.path)
    if (state := run.status().state) in ACTIVE_STATES:
        raise StoreError(f"run {run.id} is {state}: stop it first")
    with exclusive(run) as status:
        if status.state == "queued":
            raise StoreError(f"run {run.id} is queued: stop it first")
        if status.saved_step is not None:  # Without a saved state it begins again, on what the files hold now.
            check_same_files(run)
        yield status


def plan_extension(run: Run, status: Status, steps: int) -> Status:
    """Extend an idle run by ``steps`` updates and return the status to write.

    From the resumed step on, the learning rate follows the schedule of a run planned with the new total. The number
    of warm-up steps stays the same, and the patience of early stopping restarts. Writing the config extends the run:
    until the returned status is written, it reads as stopped, to be resumed.

    Raises:
        ValueError: if ``steps`` is not positive.
        StoreError: if the run cannot be written.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: expected a number of additional steps, at least 1; got {steps!r}")
    with changing_config(run.path) as config:
        old = config.training
        total = old.steps + steps
        planned = old.planned_steps or old.steps
        training = replace(old, steps=total, planned_steps=planned, warmup=round(old.warmup * old.steps) / total)
        longer = replace(config, training=training, planned=(*config.planned, old.steps))
        atomic_write(run.path / "config.json", encode_config(longer))
    return status.with_changes(steps=total, extensions=len(longer.planned))


def prepare_resume(run: Run, steps: int = 0) -> None:
    """Prepare a stopped run for ``execute_run`` in this process, extended by ``steps`` updates.

    Raises:
        StoreError: if the run is active, is finished and not extended, or cannot be written.
    """
    with locked_idle_run(run) as status:
        if steps:
            status = plan_extension(run, status, steps)
        elif status.state == "finished":
            raise StoreError(f"run {run.id} is finished; extend it to train further")
        remove_stop_request(run)
        place_locally(run.path)
        write_status(run.path, status.with_changes(state="stopped", reason="about to go on", pid=None))
