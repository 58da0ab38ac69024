"""The worker: a process that takes queued runs one after another and keeps models in memory between them.

``python -m ptviz.worker.process ROOT`` serves the runs under ROOT. It opens no port: it reads the store and its request
queue, and writes the store and its replies. An idle worker waits for a change in its folder, frees its models after
``--unload-after`` seconds and ends after ``--exit-after`` seconds.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

import ptviz
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.file_lock import FileLock, lock_owner
from ptviz.runs.placement import cluster_resources
from ptviz.runs.prediction_files import lacks_predictions
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, atomic_write, check_room
from ptviz.runs.store import Store
from ptviz.runs.writer import mark_if_dead
from ptviz.safe_text import escape_hidden, escape_log_records
from ptviz.worker.directory import EXIT_BUSY, WorkerDir, code_modified_at
from ptviz.worker.folder_watch import FolderWatch

UNLOAD_AFTER, EXIT_AFTER = 300.0, 600.0
"""Idle seconds after which a worker frees its models, and after which it ends."""
_QUEUE_SCAN_SECONDS = 60.0
"""Longest time between two scans of the queue, in case a change was missed (some network drives report none)."""
_PROJECTION_POLL_SECONDS = 0.1
_FOLDER_CHECK_SECONDS = 1.0
_RETRY_SECONDS = 10.0
"""Seconds before a run that could not be taken is tried again."""
SHUTDOWN_REASON = "the worker was asked to end"


class Worker:
    """Takes queued runs, oldest first; answers requests between steps and while idle."""

    def __init__(self, store: Store, unload_after: float = UNLOAD_AFTER, exit_after: float = EXIT_AFTER) -> None:
        # Imported late: the lock is taken before the seconds that the heavy libraries need.
        from ptviz.engine.model_cache import ModelCache
        from ptviz.worker.background_experiments import BackgroundExperiments
        from ptviz.worker.handlers import HandlerContext

        self.store, self.unload_after, self.exit_after = store, unload_after, exit_after
        self.worker_dir = WorkerDir.of_store(store.root).create()
        self.folder_watch = FolderWatch(self.worker_dir)
        self.model_cache = ModelCache()
        self.handlers = HandlerContext(store, self.model_cache)
        self.background_experiments = BackgroundExperiments(store, self.model_cache)
        self.shutdown_reason: str | None = None
        self._run_id: str | None = None
        self._backbone: str | None = None
        self._last_folder_check = self._last_scan = 0.0
        self._last_wake = -1
        self._without_predictions: deque[str] = deque()
        self._attempted_predictions: set[str] = set()
        self._predictions: Iterator[None] | None = None
        self._retry_at: dict[str, float] = {}
        self._stops_when_idle = False
        self._idle_since = time.monotonic()
        self._has_unloaded = False

    def serve(self) -> None:
        """Work until idle for too long, or asked to end."""
        self._write_info()
        self._contain(self._clean_up)
        self._mark_busy()
        while self.shutdown_reason is None:
            self._contain(self._serve_once)
        self.handlers.projection_queue.shut_down()

    def _contain(self, work: Callable[[], None]) -> None:
        """Do some work; an error, such as that of a full disk, is logged and does not end the worker."""
        try:
            work()
        except Exception as error:
            write_log_line(f"{failure_reason(error, None)}; the worker continues in {_RETRY_SECONDS:g} s")
            self._check_folder()
            if self.shutdown_reason is None and self._idle_seconds() >= self.exit_after:
                self.shutdown_reason = "idle"
            if self.shutdown_reason is None:
                self.folder_watch.wait(_RETRY_SECONDS)

    def _clean_up(self) -> None:
        """Settle what earlier workers left when they were killed."""
        mark_dead_runs(self.store)
        self.worker_dir.requests.remove_stale_files()
        self.store.remove_leftovers()
        self.handlers.projection_queue.adopt_jobs()

    def _serve_once(self) -> None:
        worked, projecting = self._work(), self._poll_projections()
        if worked or projecting:
            self._mark_busy()
            if not worked:
                self.folder_watch.wait(_PROJECTION_POLL_SECONDS)
        elif self._stops_when_idle or self._idle_seconds() >= self.exit_after:
            self.shutdown_reason = "idle"
        else:
            if self._idle_seconds() >= self.unload_after and not self._has_unloaded:
                self._unload_models()
            self.folder_watch.wait(self._seconds_to_wait())
            self._check_folder()

    def _work(self) -> bool:
        """Do one piece of work; False if there is none."""
        return (
            self._run_next()
            or self._handle_requests()
            or self._make_missing_predictions()
            or self._run_background_experiment()
        )

    def _mark_busy(self) -> None:
        self._idle_since, self._has_unloaded = time.monotonic(), False

    def _idle_seconds(self) -> float:
        return time.monotonic() - self._idle_since

    def _seconds_to_wait(self) -> float:
        """Return how long nothing is due."""
        idle = self._idle_seconds()
        due = [_QUEUE_SCAN_SECONDS, self.exit_after - idle]
        if not self._has_unloaded:
            due.append(self.unload_after - idle)
        if self._retry_at:
            due.append(_RETRY_SECONDS)
        return max(0.0, min(due))

    def _unload_models(self) -> None:
        """Free the models' memory: the next run loads them again."""
        import torch

        self.handlers.clear()
        self._has_unloaded, self._backbone = True, None
        gc.collect()
        with suppress(AttributeError):  # not every C library can
            psutil.heap_trim()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._write_info()
        write_log_line("idle: the models were freed")

    def _poll_projections(self) -> bool:
        """Check on the projection process; True if it is computing."""
        self.handlers.projection_queue.poll()
        return self.handlers.projection_queue.busy

    def _check_folder(self) -> None:
        """End if the worker's folder was deleted."""
        self._last_folder_check = time.monotonic()
        try:
            self.worker_dir.lock_file.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.shutdown_reason = "its folder is gone"
        except OSError as error:
            write_log_line(failure_reason(error, None))

    def _check_folder_now_and_then(self) -> None:
        if time.monotonic() - self._last_folder_check > _FOLDER_CHECK_SECONDS:
            self._check_folder()

    def _run_next(self) -> bool:
        """Train the oldest queued run that can be taken; False if there is none."""
        woken, now = self.worker_dir.last_wake(), time.monotonic()
        scan_after = _RETRY_SECONDS if self._retry_at else _QUEUE_SCAN_SECONDS
        if woken == self._last_wake and now - self._last_scan < scan_after:
            return False
        queued = _runs_to_take(self.store)
        self._retry_at = {id: due for id, due in self._retry_at.items() if id in queued and due > now}
        for id in queued:
            if id not in self._retry_at and self._try_run(id):
                return True
        self._last_wake, self._last_scan = woken, now
        self._find_missing_predictions()
        return False

    def _try_run(self, id: str) -> bool:
        """Train a queued run; False if it cannot even be marked as taken (a full disk, no permission to write)."""
        try:
            check_room(self.worker_dir.folder)
            run = self.store.get(id)
            self._execute_run(run)
            if run.status().state != "queued":
                return True
        except Exception as error:
            write_log_line(f"{id}: {failure_reason(error, None)}")
        self._retry_at[id] = time.monotonic() + _RETRY_SECONDS
        return False

    def _execute_run(self, run: Run) -> None:
        from ptviz.engine.train_job import train_run

        self._run_id, self._backbone = run.id, run.config.backbone
        self._write_info()
        write_log_line(f"{run.id}: begins")
        try:
            train_run(run, self.model_cache, should_stop=self._should_stop, if_queued=True)
        finally:
            self._run_id = None
            self._write_info()
        status = run.status()
        write_log_line(f"{run.id}: {status.state} {status.reason}")

    def _should_stop(self) -> str | None:
        try:
            self._handle_requests(between_steps=True)
            self._poll_projections()
            self._check_folder_now_and_then()
        except Exception as error:  # It concerns a question, not the run that is trained.
            write_log_line(failure_reason(error, None))
        return self.shutdown_reason

    def _handle_requests(self, between_steps: bool = False) -> bool:
        from ptviz.worker.handlers import answer_request

        requests = self.worker_dir.requests.take_requests()
        for request in requests:
            if request.kind == "retire":
                self._stops_when_idle = True
                if request.body.get("at_once"):
                    self.shutdown_reason = SHUTDOWN_REASON
            elif request.kind == "preload":
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
            self._write_info()

    def _find_missing_predictions(self) -> None:
        """Find finished runs whose predictions failed or were deleted; each is attempted once in a worker's life."""
        self._without_predictions = deque(
            summary.id
            for summary in self.store.list()
            if summary.status.state == "finished"
            and summary.id not in self._attempted_predictions
            and lacks_predictions(self.store.root / summary.id)
        )

    def _make_missing_predictions(self) -> bool:
        """Predict the next few test examples of a run that lacks predictions; False if there is none."""
        from ptviz.engine.predictions import make_missing_predictions

        if self._predictions is None:
            if not self._without_predictions or self._stops_when_idle:
                return False
            id = self._without_predictions.popleft()
            self._attempted_predictions.add(id)
            self._predictions = make_missing_predictions(self.store.get(id), self.model_cache)
            write_log_line(f"{id}: its predictions are missing and are made now")
        try:
            next(self._predictions)
        except StopIteration:
            self._predictions = None
        except Exception as error:
            self._predictions = None
            write_log_line(f"predictions were not made: {failure_reason(error, None)}")
        return True

    def _run_background_experiment(self) -> bool:
        """Run a piece of the requested transfer measurements; False if there is none, or a newer worker waits."""
        if self._stops_when_idle or not self.background_experiments.run_piece():
            return False
        self._check_folder_now_and_then()
        return True

    def _write_info(self) -> None:
        """Write what other processes may know about this worker. That it lives is shown by its lock."""
        info: dict[str, Any] = {
            "pid": os.getpid(),
            "run": self._run_id,
            "backbone": self._backbone,
            "version": ptviz.__version__,
            "built": code_modified_at(),
            "updated": time.time(),
        }
        with suppress(StoreError):
            atomic_write(self.worker_dir.info_file, json.dumps(info).encode(), durable=False)


def mark_dead_runs(store: Store) -> None:
    """Write the status of every run whose worker died."""
    for summary in store.list():
        try:
            # A collector that is started again continues the runs of its cluster.
            if cluster_resources(store.root / summary.id) is None and mark_if_dead(store.get(summary.id)):
                write_log_line(f"{summary.id}: its worker had died")
        except Exception as error:  # One damaged run must not keep the worker from the others.
            write_log_line(f"{summary.id}: {failure_reason(error, None)}")
    for problem in store.problems():
        write_log_line(f"{problem.id}: left out, it cannot be read: {problem.reason}")


def write_log_line(text: str) -> None:
    """Write one line to the worker's log."""
    with suppress(OSError):
        print(time.strftime("%Y-%m-%d %H:%M:%S"), escape_hidden(text), flush=True)


class _LogStream(io.RawIOBase):
    """A standard stream whose writes never fail: a full disk loses lines of the log, and nothing else."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            return os.write(self.number, data)
        return len(data)


def _contain_log_errors() -> None:
    """Let no library's message end the worker because the log cannot be written."""
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(_LogStream(1)), errors="replace", line_buffering=True)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_LogStream(2)), errors="replace", line_buffering=True)


def _lower_priority() -> None:
    """Let pages respond quickly while this process trains, and have it killed first when memory runs out."""
    with suppress(OSError, AttributeError):
        os.nice(3)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    # After that, because the first page is drawn while torch is imported here.
    import torch

    from ptviz.runs.environment import available_cpus

    wanted = os.environ.get("PTVIZ_THREADS")
    torch.set_num_threads(int(wanted) if wanted else min(torch.get_num_threads(), available_cpus()))


def main(arguments: list[str] | None = None) -> int:
    """Serve the runs under a folder; the exit status is 3 if another worker does so already."""
    options = _parse_arguments(arguments)
    store = Store(options.root)
    try:
        lock = FileLock(WorkerDir.of_store(store.root).create().lock_file)
        is_first = lock.acquire()
    except StoreError as error:
        write_log_line(str(error))
        return 1
    if not is_first:
        write_log_line(f"another worker (process {lock_owner(lock.path)}) serves {store.root}")
        return EXIT_BUSY
    write_log_line(f"worker {os.getpid()} serves {store.root}")
    _lower_priority()
    worker = Worker(store, options.unload_after, options.exit_after)

    def end(number: int, frame: FrameType | None) -> None:
        worker.shutdown_reason = SHUTDOWN_REASON
        worker.folder_watch.wake()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with worker.folder_watch:
        while True:
            worker.serve()
            lock.release()
            if worker.shutdown_reason != "idle" or not _is_still_needed(store, lock):
                break
            worker.shutdown_reason = None
    write_log_line(f"worker {os.getpid()} ends: {worker.shutdown_reason}")
    return 0


def _runs_to_take(store: Store) -> list[str]:
    """Return the queued runs in their turn, without those that wait for a cluster."""
    waiting = (summary.id for summary in store.queued_runs())
    return [id for id in waiting if cluster_resources(store.root / id) is None]


def _is_still_needed(store: Store, lock: FileLock) -> bool:
    """Return whether there is a queued run that a worker takes and no other worker, and take the lock again.

    A run queued just before the lock was released saw a living worker, so no other worker will be started for it.
    """
    try:
        return bool(_runs_to_take(store)) and lock.acquire()
    except StoreError as error:
        write_log_line(str(error))
        return False


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ptviz.worker.process", description=main.__doc__)
    parser.add_argument("root", type=Path, help="the folder of runs")
    for option, seconds, effect in (
        ("unload-after", UNLOAD_AFTER, "free the models"),
        ("exit-after", EXIT_AFTER, "end"),
    ):
        variable = f"PTVIZ_WORKER_{option.upper().replace('-', '_')}"
        default = os.environ.get(variable) or str(seconds)  # as text: argparse then reports a wrong one
        text = f"{effect} after this long without work; default: ${variable}, or {seconds:g}"
        parser.add_argument(f"--{option}", type=float, default=default, metavar="SECONDS", help=text)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    _contain_log_errors()
    escape_log_records()
    sys.exit(main())
