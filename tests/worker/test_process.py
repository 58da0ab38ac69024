"""The worker in this process: when it frees its models, and when it ends."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ptviz.runs import RunConfig, Store
from ptviz.runs.file_lock import FileLock
from ptviz.runs.placement import ClusterResources, place_locally, place_on_cluster
from ptviz.worker.process import EXIT_AFTER, UNLOAD_AFTER, Worker, _is_still_needed, _parse_arguments


@pytest.fixture
def worker(store: Store) -> Worker:
    worker = Worker(store)
    worker.worker_dir.lock_file.touch()
    return worker


class Clock:
    """Time that passes only while the worker waits."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waits = 1000.0, []
        self.worker = worker
        monkeypatch.setattr("ptviz.worker.process.time.monotonic", lambda: self.now)
        monkeypatch.setattr(worker.folder_watch, "wait", self.wait)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_a_retiring_worker_does_not_stay_for_a_run_that_waits_for_a_cluster(store: Store) -> None:
    """It never takes one, so it would be asked again at once, and use a core for as long as the run waits."""
    lock = FileLock(store.root.parent / "lock")
    store.root.mkdir(parents=True)
    run = store.create(RunConfig("tiny-encoder"), queued=True)
    place_on_cluster(run.path, ClusterResources())
    assert not _is_still_needed(store, lock)
    place_locally(run.path)
    assert _is_still_needed(store, lock)
    lock.release()


def test_an_idle_worker_frees_its_models_then_ends(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, freed = Clock(worker, monkeypatch), []
    monkeypatch.setattr(worker.model_cache, "clear", lambda: freed.append(clock.now))
    worker.serve()
    assert worker.shutdown_reason == "idle"
    assert freed == [1000.0 + UNLOAD_AFTER]
    assert clock.now == 1000.0 + EXIT_AFTER
    assert len(clock.waits) <= 1 + EXIT_AFTER / 60, "no polling: it wakes once a minute at most"


def test_a_worker_whose_folder_is_gone_ends_at_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(worker, monkeypatch)
    monkeypatch.setattr(worker.folder_watch, "wait", lambda seconds: shutil.rmtree(worker.store.root))
    worker.serve()
    assert worker.shutdown_reason == "its folder is gone"
    assert clock.now == 1000.0


def test_the_info_file_is_written_when_it_changes(
    worker: Worker, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(worker, monkeypatch)
    written: list[dict[str, Any]] = []
    write = worker._write_info

    def record() -> None:
        write()
        written.append(json.loads(worker.worker_dir.info_file.read_bytes()))

    monkeypatch.setattr(worker, "_write_info", record)
    worker.unload_after = 2 * EXIT_AFTER
    worker.serve()
    assert [info["run"] for info in written] == [None], "once at the start, however long it was idle"


def test_the_limits_come_from_the_environment_and_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _parse_arguments(["runs"]).unload_after == UNLOAD_AFTER
    monkeypatch.setenv("PTVIZ_WORKER_UNLOAD_AFTER", "7")
    monkeypatch.setenv("PTVIZ_WORKER_EXIT_AFTER", "8.5")
    found = _parse_arguments(["runs"])
    assert (found.unload_after, found.exit_after) == (7, 8.5)
    assert _parse_arguments(["runs", "--exit-after", "9"]).exit_after == 9
    monkeypatch.setenv("PTVIZ_WORKER_EXIT_AFTER", "soon")
    with pytest.raises(SystemExit):
        _parse_arguments(["runs"])
