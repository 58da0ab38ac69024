"""The worker's orders for maps: one after another, once each, and told when the process that lays them dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ptviz.runs.run_file_io import StoreError
from ptviz.worker import projection_queue
from ptviz.worker.projection_process import ProjectionJob, cancel, enqueue, is_pending, load_progress, load_projection
from ptviz.worker.projection_queue import ProjectionQueue, projection_folder
from tests.app_server import HANGS_SECONDS

RNG = np.random.default_rng(0)
SLEEPER = (sys.executable, "-c", "import sys, time; sys.stdin.readline(); time.sleep(600)")
DYING = (sys.executable, "-c", "import sys; sys.stdin.readline()")
STARTED = (sys.executable, "-c", "\n".join([
    "import pathlib, sys, time", "folder = pathlib.Path(sys.stdin.readline().strip())",
    "(folder / 'progress.json').write_text('{}')", "time.sleep(600)",
]))  # fmt: skip


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], str]:
    """Puts a new order into its folder and says its name."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))

    def make() -> str:
        wanted = ProjectionJob(RNG.normal(size=(40, 6)).astype(np.float32), (np.ones((1, 2, 6), np.float32),), "PCA")
        enqueue(wanted, projection_folder(wanted.digest))
        return wanted.digest

    return make


@pytest.fixture
def made() -> Iterator[Callable[..., ProjectionQueue]]:
    all_: list[ProjectionQueue] = []

    def make(*command: str) -> ProjectionQueue:
        all_.append(ProjectionQueue(*[command] if command else []))
        return all_[-1]

    yield make
    for one in all_:
        one.shut_down()


def until(true: Callable[[], bool], tick: Callable[[], None]) -> None:
    end = time.monotonic() + HANGS_SECONDS
    while not true():
        assert time.monotonic() < end
        tick()
        time.sleep(0.02)


def test_orders_are_laid_one_after_another(order, made):
    first, second, here = order(), order(), made()
    for name in (first, second, first):
        here.add_job(name)
    assert len(here._waiting) == 2, "no order is taken twice"
    until(lambda: load_projection(projection_folder(first)) is not None, here.poll)
    process = here._process
    until(lambda: load_projection(projection_folder(second)) is not None and not here.busy, here.poll)
    assert here._process is process, "loading UMAP takes longer than a map"
    here.add_job(first)
    assert not here._waiting, "what is there is not laid again"


def test_what_is_not_ordered_is_refused(order, made):
    name, here = order(), made()
    cancel(projection_folder(name))
    with pytest.raises(StoreError, match="no such projection job"):
        here.add_job(name)
    for wrong in ("../../etc", "", "G" * 24):
        with pytest.raises(StoreError, match="expected the name of a projection job"):
            here.add_job(wrong)


def test_a_process_that_dies_is_told_and_the_next_order_gets_another(order, made):
    first, second, here = order(), order(), made(*DYING)
    here.add_job(first)
    here.add_job(second)
    until(lambda: bool(load_progress(projection_folder(first)).error), here.poll)
    assert "its process crashed" in load_progress(projection_folder(first)).error
    assert not is_pending(projection_folder(first))
    here.command = projection_queue._PROCESS_COMMAND
    until(
        lambda: (
            load_projection(projection_folder(second)) is not None
            or bool(load_progress(projection_folder(second)).error)
        ),
        here.poll,
    )


def test_a_map_under_way_is_taken_back(order, made):
    name, here = order(), made(*STARTED)
    here.add_job(name)
    here.poll()
    process, folder = here._process, projection_folder(name)
    until(lambda: (folder / "progress.json").exists(), here.poll)
    cancel(folder)
    until(lambda: not here.busy, here.poll)
    assert process is not None
    assert process.poll() is not None, "nothing but an end reaches a process deep in its work"
    assert not (folder / "progress.json").exists()


def test_the_end_takes_the_process_along(order, made):
    here = made(*SLEEPER)
    here.add_job(order())
    here.poll()
    assert here.busy
    process = here._process
    here.shut_down()
    assert process is not None
    assert process.poll() is not None
    assert not here.busy


def test_the_oldest_maps_are_forgotten(order, made, monkeypatch):
    monkeypatch.setattr(projection_queue, "_MAX_CACHED", 2)
    names = []
    for age in (4, 3, 2, 1):
        names.append(order())
        os.utime(projection_folder(names[-1]), (time.time() - 100 * age,) * 2)
    projection_queue._remove_oldest(projection_folder(names[0]).parent)
    assert [projection_folder(name).exists() for name in names] == [False, False, True, True]
