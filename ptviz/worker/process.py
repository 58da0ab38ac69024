"""The worker: a process of its own that takes queued runs one after another and stays warm between them.

``python -m ptviz.worker.process ROOT`` serves the runs under ROOT until it was idle for half an hour. It talks to
nobody:
it reads the store and its mailbox, and writes the store and its replies.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import ptviz
from ptviz.runs.atomic_io import StoreError, atomic_write
from ptviz.runs.config import RunConfig
from ptviz.runs.file_lock import FileLock, lock_owner
from ptviz.runs.run import Run
from ptviz.runs.store import Store
from ptviz.runs.writer import mark_if_dead
from ptviz.worker.directory import EXIT_BUSY, WorkerDir, code_modified_at

_POLL_SECONDS = 0.02
"""Seconds between two looks at the bell and the mailbox: far below what a person notices."""
_QUEUE_SCAN_SECONDS = 2.0
"""Seconds between two looks at the whole queue, in case a bell was not heard."""
_HEARTBEAT_SECONDS = 1.0
SHUTDOWN_REASON = "the worker was asked to end"
_RETRY_SECONDS = 10.0
"""Seconds before a run that could not be taken is tried again."""


class Worker:
    """Takes queued runs, oldest first; answers letters between steps and while idle."""

    def __init__(self, store: Store, idle: float = 1800.0) -> None:
        # Imported late: the lock is taken before the seconds that the heavy libraries need.
        from ptviz.engine.model_cache import ModelCache
        from ptviz.worker.background_experiments import BackgroundExperiments
        from ptviz.worker.handlers import HandlerContext

        self.store, self.idle = store, idle
        self.worker_dir = WorkerDir.of_store(store.root).create()
        self.model_cache = ModelCache()
        self.handlers = HandlerContext(store, self.model_cache)
        self.background_experiments = BackgroundExperiments(store, self.model_cache)
        self.shutdown_reason: str | None = None
        self._run_id: str | None = None
        self._backbone: str | None = None
        self._last_heartbeat = self._last_scan = 0.0
        self._last_wake = -1
        self._pending_predictions: deque[Iterator[None]] = deque(maxlen=8)
        self._retry_at: dict[str, float] = {}
        self._stops_when_idle = False

    def serve(self) -> None:
        """Work until idle for too long, or asked to end."""
        for summary in self.store.list():
            if mark_if_dead(self.store.get(summary.id)):
                write_log_line(f"{summary.id}: its worker had died")
        self.worker_dir.requests.remove_stale_files()
        self.store.remove_leftovers()
        last = time.monotonic()
        while self.shutdown_reason is None:
            if (
                self._run_next()
                or self._handle_requests()
                or self._write_pending_predictions()
                or self._run_background_experiment()
            ):
                last = time.monotonic()
            elif self._stops_when_idle or time.monotonic() - last > self.idle:
                self.shutdown_reason = "idle"
            else:
                self._write_heartbeat()
                time.sleep(_POLL_SECONDS)
            if self._poll_projections():
                last = time.monotonic()
        self.handlers.projection_queue.shut_down()

    def _poll_projections(self) -> bool:
        """Look after the maps; whether one is under way."""
        self.handlers.projection_queue.poll()
        return self.handlers.projection_queue.busy

    def _run_next(self) -> bool:
        """Work on the oldest queued run; False if there is none."""
        rung, now = self.worker_dir.last_wake(), time.monotonic()
        if rung == self._last_wake and now - self._last_scan < _QUEUE_SCAN_SECONDS:
            return False
        waiting = [summary.id for summary in self.store.queued_runs() if self._retry_at.get(summary.id, 0.0) < now]
        if not waiting:
            self._last_wake, self._last_scan = rung, now
            return False
        try:
            self._execute_run(self.store.get(waiting[0]))
        except StoreError as error:
            # It cannot even be marked as taken (a full disk, a folder without rights): let others go first.
            self._retry_at[waiting[0]] = now + _RETRY_SECONDS
            write_log_line(f"{waiting[0]}: {error}")
        return True

    def _execute_run(self, run: Run) -> None:
        from ptviz.engine.train_job import train_run, write_predictions

        self._run_id, self._backbone = run.id, run.config.backbone
        self._write_heartbeat(at_once=True)
        write_log_line(f"{run.id}: begins")
        try:
            trained = train_run(run, self.model_cache, heed=self._should_stop, if_queued=True)
        finally:
            self._run_id = None
            self._write_heartbeat(at_once=True)
        status = run.status()
        write_log_line(f"{run.id}: {status.state} {status.reason}")
        if trained is not None:
            self._pending_predictions.append(write_predictions(trained, self.model_cache.backend))

    def _should_stop(self) -> str | None:
        self._handle_requests(between_steps=True)
        self._poll_projections()
        self._write_heartbeat()
        return self.shutdown_reason

    def _handle_requests(self, between_steps: bool = False) -> bool:
        from ptviz.worker.handlers import answer_request

        requests = self.worker_dir.requests.take_requests()
        for request in requests:
            if request.kind == "retire":
                self._stops_when_idle = True
                if request.body.get("at_once"):
                    self.shutdown_reason = SHUTDOWN_REASON
            elif request.kind == "warm":
                if not between_steps:
                    self._preload_models(request.body)
            else:
                answer = answer_request(self.handlers, request.kind, request.body)
                with suppress(StoreError):  # A full disk must not end the run that is training.
                    self.worker_dir.requests.reply(request.id, answer)
        return bool(requests)

    def _preload_models(self, body: dict[str, Any]) -> None:
        """Load the backbone and task of a run before it is queued."""
        with suppress(Exception):  # Only a hint: the run itself reports what is wrong.
            config = RunConfig.from_json(body)
            self.model_cache.backbone(config)
            self.model_cache.task(config)
            self._backbone = config.backbone

    def _write_pending_predictions(self) -> bool:
        """One small piece of what was put off; False if nothing was."""
        if not self._pending_predictions:
            return False
        try:
            next(self._pending_predictions[0])
        except StopIteration:
            self._pending_predictions.popleft()
        except Exception as error:
            write_log_line(f"predictions were not written: {error}")
            self._pending_predictions.popleft()
        return True

    def _run_background_experiment(self) -> bool:
        """One small piece of the measurements that were ordered; False if none was, or somebody waits for our place."""
        if self._stops_when_idle or not self.background_experiments.run_piece():
            return False
        self._write_heartbeat()
        return True

    def _write_heartbeat(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._last_heartbeat < _HEARTBEAT_SECONDS:
            return
        self._last_heartbeat = now
        card: dict[str, Any] = {
            "pid": os.getpid(),
            "run": self._run_id,
            "backbone": self._backbone,
            "version": ptviz.__version__,
            "built": code_modified_at(),
            "updated": time.time(),
        }
        if not self.worker_dir.lock_file.exists():
            self.shutdown_reason = "its folder is gone"
        with suppress(StoreError):
            atomic_write(self.worker_dir.heartbeat, json.dumps(card).encode(), durable=False)


def write_log_line(text: str) -> None:
    """One line in the worker's log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def _lower_priority() -> None:
    """Be a good neighbour: pages stay quick while we train, and we are the first to go when memory runs out."""
    import torch

    from ptviz.runs.environment import available_cpus

    wanted = os.environ.get("PTVIZ_THREADS")
    torch.set_num_threads(int(wanted) if wanted else min(torch.get_num_threads(), available_cpus()))
    with suppress(OSError, AttributeError):
        os.nice(3)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main(arguments: list[str] | None = None) -> int:
    """Serve the runs under a folder; the exit status is 3 if another worker does so already."""
    parser = argparse.ArgumentParser(prog="python -m ptviz.worker.process", description=main.__doc__)
    parser.add_argument("root", type=Path, help="the folder of runs")
    parser.add_argument("--idle", type=float, default=30.0, metavar="MINUTES", help="end after this long without work")
    chosen = parser.parse_args(arguments)
    store = Store(chosen.root)
    lock = FileLock(WorkerDir.of_store(store.root).create().lock_file)
    if not lock.acquire():
        write_log_line(f"another worker (process {lock_owner(lock.path)}) serves {store.root}")
        return EXIT_BUSY
    write_log_line(f"worker {os.getpid()} serves {store.root}")
    _lower_priority()
    worker = Worker(store, chosen.idle * 60)

    def end(number: int, frame: FrameType | None) -> None:
        worker.shutdown_reason = SHUTDOWN_REASON

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while True:
        worker.serve()
        lock.release()
        # A run queued just before the lock was let go saw a living worker, and nobody else would come for it.
        if worker.shutdown_reason != "idle" or not store.queued_runs() or not lock.acquire():
            break
        worker.shutdown_reason = None
    write_log_line(f"worker {os.getpid()} ends: {worker.shutdown_reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
