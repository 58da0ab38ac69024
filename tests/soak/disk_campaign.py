"""Fill the disk at each call of a worker that changes it, and check that the worker goes on when there is room again.

``python -m tests.soak.disk_campaign --points 100`` spreads that many faults evenly over all calls. From the chosen call
on, every call that needs room fails, until the worker waits for the third time.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from ptviz.engine.train_job import execute_run
from ptviz.runs import Run, Store
from ptviz.runs.file_lock import FileLock
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.worker.process import Worker
from tests.soak.fake_store import check_finished, make_cache, named
from tests.soak.fault_points import FaultPoints

RUNS, WAITS = 3, 3
_NEEDS_ROOM = ("write", "fsync", "mkdir", "replace", "rename")


class Disk:
    """A disk that is full from call ``full_at`` on, until the worker has waited a few times."""

    def __init__(self, full_at: int) -> None:
        self.full_at, self.waits, self.refused = full_at, 0, 0

    def fault(self, number: int, name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        """Do the call, or refuse it as a full disk does."""
        is_full = number >= self.full_at and self.waits < WAITS
        if is_full and (name in _NEEDS_ROOM or (name in ("open", "create") and not os.path.exists(arguments[0]))):  # noqa: PTH110
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return call()


def serve(store: Store, disk: Disk) -> int:
    """Let a worker serve the store on such a disk until it is idle; return the number of calls that change the disk."""
    now = [1000.0]

    def wait(seconds: float) -> None:
        now[0] += max(seconds, 0.001)
        if disk.refused:
            disk.waits += 1

    worker = Worker(store, exit_after=120.0)
    worker.model_cache = make_cache()
    with (
        mock.patch.object(worker.folder_watch, "wait", wait),
        mock.patch("ptviz.worker.process.time.monotonic", side_effect=lambda: now[0]),
        contextlib.redirect_stdout(io.StringIO()),
        FaultPoints(disk.fault) as points,
    ):
        lock = FileLock(worker.worker_dir.lock_file)
        while not lock.acquire():
            wait(1.0)
        worker.serve()
        lock.release()
    assert worker.shutdown_reason == "idle"
    return points.count


def check(store: Store, whole: Run) -> int:
    """Check that the queue went on, and return how many runs had to be resumed: those that trained on a full disk."""
    store, resumed = Store(store.root), 0
    store.remove_leftovers()
    assert store.problems() == ()
    assert len(store.list()) == RUNS
    assert [path for path in store.root.rglob("*") if path.name.endswith(".part")] == []
    for run in (store.get(summary.id) for summary in store.list()):
        status = run.status()
        if status.state != "finished":
            assert status.state in ("failed", "stopped"), status
            resumed += 1
            prepare_resume(run)
            execute_run(run.path, make_cache())
        check_finished(run, whole)
    assert resumed <= 1, "the runs behind the one that trained wait for room"
    return resumed


def run_campaign(folder: Path, points: int, seed: int = 0) -> tuple[int, int]:
    """Fill the disk at some calls; return the number of faults, and of runs that had to be resumed.

    Raises:
        AssertionError: if the worker ended or something was lost, naming the call.
    """
    os.environ.update(PTVIZ_HOME=str(folder / "nowhere"), PTVIZ_CACHE=str(folder / "cache"))
    whole = Store(folder / "whole" / "runs").create(named(0))
    execute_run(whole.path, make_cache())
    template = Store(folder / "template" / "runs")
    for number in range(RUNS):
        run = template.create(named(number), queued=True)
        # As a run that was stopped before: it can be taken from the queue without room for a new file.
        for name in ("lock", "events.jsonl"):
            (run.path / name).touch()

    def fresh() -> Store:
        shutil.rmtree(folder / "one", ignore_errors=True)
        shutil.copytree(folder / "template", folder / "one")
        return Store(folder / "one" / "runs")

    every = range(serve(fresh(), Disk(sys.maxsize)))
    count, start = min(points, len(every)), random.Random(seed).random()
    resumed = 0
    for i in range(count):
        call, store = every[int((start + i) * len(every) / count)], fresh()
        try:
            serve(store, Disk(call))
            resumed += check(store, whole)
        except Exception as error:
            raise AssertionError(f"the disk was full from call {call} on: {type(error).__name__}: {error}") from error
    return count, resumed


def main() -> None:
    """Run the campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100, help="faults; more than there are calls: all of them")
    parser.add_argument("--seed", type=int, default=0, help="where the evenly spread calls begin")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ptviz-disk-") as folder, mock.patch.dict(os.environ):
        began = time.perf_counter()
        count, resumed = run_campaign(Path(folder), options.points, options.seed)
        print(f"{count} full disks in {time.perf_counter() - began:.0f} s: the worker went on, {resumed} runs resumed")


if __name__ == "__main__":
    sys.exit(main())
