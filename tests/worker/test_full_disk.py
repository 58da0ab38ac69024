"""A worker on a full disk, or one that fails in other ways, goes on when it can."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.runs import RunConfig, Store, StoreError
from ptviz.runs.file_lock import FileLock, is_locked
from ptviz.runs.prediction_files import read_predictions_error
from ptviz.worker import background_experiments, background_jobs, process
from ptviz.worker.background_jobs import TransferJob, current_job, submit_job
from ptviz.worker.process import Worker, _LogStream
from tests.soak.disk_campaign import run_campaign


@pytest.fixture
def worker(store: Store, model_cache: ModelCache, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker whose waits pass at once."""
    worker, now = Worker(store, exit_after=100.0), [1000.0]
    worker.model_cache = worker.background_experiments.model_cache = model_cache
    worker.worker_dir.lock_file.touch()

    def wait(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(worker.folder_watch, "wait", wait)
    monkeypatch.setattr("ptviz.worker.process.time.monotonic", lambda: now[0])
    return worker


def test_a_disk_that_fills_at_any_call_does_not_end_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of the points that ``python -m tests.soak.disk_campaign`` goes through."""
    monkeypatch.setenv("PTVIZ_CACHE", os.environ.get("PTVIZ_CACHE", ""))  # restored after the campaign sets its own
    faults, _ = run_campaign(tmp_path, points=12)
    assert faults == 12


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_limit_on_file_sizes_fails_the_run_and_not_the_worker(
    store: Store, config: RunConfig, worker: Worker
) -> None:
    import resource

    long = replace(config, training=replace(config.training, steps=300))
    too_long, short = store.create(long, queued=True), store.create(config, queued=True)
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
            process.check_room = lambda folder: None  # type: ignore[assignment]  # it needs a larger file
            worker.serve()
            status = 0 if worker.shutdown_reason == "idle" else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (too_long.status().state, short.status().state) == ("failed", "finished")
    assert too_long.status().reason.endswith("events.jsonl could not be written: File too large")
    assert too_long.history().damaged_lines == 0


def test_a_lock_is_released_though_its_process_id_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    lock = FileLock(tmp_path / "lock")
    monkeypatch.setattr(os, "write", full)
    assert lock.acquire()
    lock.release()
    monkeypatch.undo()
    assert not is_locked(tmp_path / "lock")


def test_a_log_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    stream = _LogStream(1)
    monkeypatch.setattr(os, "write", full)
    assert stream.write(b"line\n") == 5


def test_every_short_run_of_a_long_queue_gets_its_predictions(store: Store, config: RunConfig, worker: Worker) -> None:
    runs = [store.create(config, queued=True) for _ in range(14)]
    worker.serve()
    assert [run.status().state for run in runs] == ["finished"] * 14
    assert all(run.predictions() is not None for run in runs)


def test_missing_predictions_are_made_once_a_life_and_three_times_at_most(
    store: Store, config: RunConfig, model_cache: ModelCache, worker: Worker
) -> None:
    good, bad = store.create(config), store.create(config)
    for run in (good, bad):
        execute_run(run.path, model_cache)
        (run.path / "predictions.parquet").unlink()
    (bad.path / "prompt.safetensors").write_bytes(b"damaged")
    for attempts in (1, 2, 3, 3):
        worker._attempted_predictions.clear()  # the next worker
        worker.shutdown_reason = None
        worker.serve()
        assert read_predictions_error(bad.path).attempts == attempts
    assert "is damaged" in read_predictions_error(bad.path).reason
    assert good.predictions() is not None
    assert not (good.path / "predictions-error.json").exists()


def test_a_run_that_cannot_be_read_does_not_stop_the_others(
    store: Store, config: RunConfig, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = store.create(config, queued=True), store.create(config, queued=True)
    real = store.get

    def get(id: str) -> Any:
        if id == bad.id:
            raise TypeError("a wrong type in a file")
        return real(id)

    monkeypatch.setattr(store, "get", get)
    worker.serve()
    assert (bad.status().state, good.status().state) == ("queued", "finished")


def test_a_failed_measurement_is_recorded_when_there_is_room_again(
    store: Store, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise StoreError("the backbone is not installed")
        yield

    monkeypatch.setattr(background_experiments, "_run_job", refuse)
    submit_job(store, TransferJob("zero-shot", ("a",)))
    real, refused = background_jobs.atomic_write, []

    def full(*arguments: Any, **keywords: Any) -> None:
        if not refused:
            refused.append(True)
            raise StoreError("the disk is full")
        real(*arguments, **keywords)

    monkeypatch.setattr(background_jobs, "atomic_write", full)
    worker.serve()
    assert refused
    job = current_job(store)
    assert job is not None
    assert job.problem == "the backbone is not installed"
