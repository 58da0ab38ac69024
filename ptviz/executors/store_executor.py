"""What executors share: a run is queued, stopped, resumed, extended and branched by files of the store."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptviz.engine.check_table import check_table_labels
from ptviz.runs.config import RunConfig, json_key, with_absolute_paths
from ptviz.runs.prepare_resume import locked_idle_run, plan_extension
from ptviz.runs.run import Run, check_writable
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import ACTIVE_STATES, Status
from ptviz.runs.stop_request import STOPPED_BY_USER, remove_stop_request, request_stop
from ptviz.runs.store import RunSummaries, Store
from ptviz.runs.writer import exclusive, mark_if_dead, write_status
from ptviz.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor


class StoreExecutor(ABC):
    """Queues runs of a store. What takes them from the queue is up to the executor."""

    store: Store

    def check_submissions(self, configs: Sequence[RunConfig]) -> None:  # noqa: B027 - a rule is the exception
        """Check that all of these new runs may be queued: here any may; the executor of a visitor has rules.

        Raises:
            ValueError: if one may not.
        """

    def submit(self, config: RunConfig) -> Run:
        """Queue a new run and see that it is trained.

        Raises:
            ValueError: if the config is wrong, or the backbone cannot distinguish the labels of its table.
            StoreError: if the folder cannot be written, or the disk is full.
        """
        config = with_absolute_paths(config)
        check_table_labels(config)
        run = self._create(config)
        self._start(run)
        return run

    def stop(self, id: str, reason: str = STOPPED_BY_USER) -> None:
        """Stop a run within a step, or take it out of the queue; a run that has ended is left as it is.

        ``reason`` begins the reason in its status.

        Raises:
            StoreError: if there is no such run, it is a recorded one, or it cannot be written.
        """
        run = self.store.get(id)
        check_writable(run.path)
        state = run.status().state
        if state not in ACTIVE_STATES:
            mark_if_dead(run)
            return
        # The request first: a process that takes the run in the meantime finds it.
        request_stop(run, reason)
        if state == "queued":
            with suppress(StoreError), exclusive(run) as status:
                if status.state == "queued":
                    reason = f"{reason} while it was queued"
                    write_status(run.path, status.with_changes(state="stopped", reason=reason))
        if run.status().state not in ACTIVE_STATES:
            remove_stop_request(run)

    def resume(self, id: str) -> Run:
        """Queue a stopped or failed run again, from its newest state.

        Raises:
            StoreError: if it is running, queued or finished, or cannot be written.
        """
        run = self.store.get(id)
        with locked_idle_run(run) as status:
            if status.state == "finished":
                raise StoreError(f"run {id} has made all its steps; extend it to train further")
            self._enqueue(run, status)
        self._start(run)
        return run

    def extend(self, id: str, steps: int) -> Run:
        """Queue a run that has ended for ``steps`` more steps (see ``ptviz.runs.prepare_resume.plan_extension``).

        Raises:
            ValueError: if ``steps`` is not positive.
            StoreError: if the run is running or queued, or cannot be written.
        """
        run = self.store.get(id)
        with locked_idle_run(run) as status:
            self._enqueue(run, plan_extension(run, status, steps))
        self._start(run)
        return run

    def branch(self, id: str, stage: int, step: int, changes: Mapping[str, Any] | None = None) -> Run:
        """Queue a new run that starts from a snapshot of another, with a fresh optimiser.

        ``changes`` are fields of ``RunConfig``, such as ``training`` or ``name``.

        Raises:
            ValueError: for an unknown field, or another method.
            StoreError: if there is no such snapshot, or the folder cannot be written.
        """
        source = self.store.get(id)
        config = source.config
        start = source.snapshot(stage, step)
        fresh = {"name": "", "planned": (), "start": None, **(changes or {}), "parent": (id, stage, step)}
        config = RunConfig.from_json({**config.to_json(), **_to_json_values(fresh)})
        # A branch was never extended: its stages share all of its steps.
        config = replace(config, training=replace(config.training, planned_steps=0))
        if config.method != source.config.method:
            raise ValueError(f"method: a branch keeps its parent's, {source.config.method}; got {config.method}")
        run = self._create(with_absolute_paths(config), start)
        self._start(run)
        return run

    def status(self, id: str) -> Status:
        """Return where a run stands.

        Raises:
            StoreError: if there is no such run.
        """
        return self.store.get(id).status()

    def list(self) -> RunSummaries:
        """Return all readable runs, the newest first.

        Raises:
            StoreError: if the folder of runs cannot be read.
        """
        return self.store.list()

    def _enqueue(self, run: Run, status: Status) -> None:
        """Put an idle run, whose lock is held, into the queue."""
        remove_stop_request(run)
        write_status(run.path, status.with_changes(state="queued", reason="", pid=None, queued=time.time()))

    @abstractmethod
    def _create(self, config: RunConfig, start: Mapping[str, Tensor] | None = None) -> Run:
        """Create a queued run, from the state ``start`` if it is a branch."""

    @abstractmethod
    def _start(self, run: Run) -> None:
        """See that a queued run is trained."""


def _to_json_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {json_key(k): v.to_json() if isinstance(v, TrainConfig) else v for k, v in changes.items()}
