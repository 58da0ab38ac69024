"""The worker's orders for maps: one after another, once each, and told when the process that lays them dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ptviz.runs.atomic_io import StoreError
from ptviz.worker import projection_queue
from ptviz.worker.projection_process import Order, drop, laid, ordered, place, progress
from ptviz.worker.projection_queue import Mapping, folder_of

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
        wanted = Order(RNG.normal(size=(40, 6)).astype(np.float32), (np.ones((1, 2, 6), np.float32),), "PCA")
        place(wanted, folder_of(wanted.name))
        return wanted.name

    return make


@pytest.fixture
def made() -> Iterator[Callable[..., Mapping]]:
    all_: list[Mapping] = []

    def make(*command: str) -> Mapping:
        all_.append(Mapping(*[command] if command else []))
        return all_[-1]

    yield make
    for one in all_:
        one.end()


def until(true: Callable[[], bool], tick: Callable[[], None]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        tick()
        time.sleep(0.02)


def test_orders_are_laid_one_after_another(order, made):
    first, second, here = order(), order(), made()
    for name in (first, second, first):
        here.take(name)
    assert len(here._waiting) == 2, "no order is taken twice"
    until(lambda: laid(folder_of(first)) is not None, here.tick)
    process = here._process
    until(lambda: laid(folder_of(second)) is not None and not here.busy, here.tick)
    assert here._process is process, "loading UMAP takes longer than a map"
    here.take(first)
    assert not here._waiting, "what is there is not laid again"


def test_what_is_not_ordered_is_refused(order, made):
    name, here = order(), made()
    drop(folder_of(name))
    with pytest.raises(StoreError, match="not ordered any more"):
        here.take(name)
    for wrong in ("../../etc", "", "G" * 24):
        with pytest.raises(StoreError, match="expected the name of a map"):
            here.take(wrong)


def test_a_process_that_dies_is_told_and_the_next_order_gets_another(order, made):
    first, second, here = order(), order(), made(*DYING)
    here.take(first)
    here.take(second)
    until(lambda: bool(progress(folder_of(first)).problem), here.tick)
    assert "its process died" in progress(folder_of(first)).problem
    assert not ordered(folder_of(first))
    here.command = projection_queue._COMMAND
    until(lambda: laid(folder_of(second)) is not None or bool(progress(folder_of(second)).problem), here.tick)


def test_a_map_under_way_is_taken_back(order, made):
    name, here = order(), made(*STARTED)
    here.take(name)
    here.tick()
    process, folder = here._process, folder_of(name)
    until(lambda: (folder / "progress.json").exists(), here.tick)
    drop(folder)
    until(lambda: not here.busy, here.tick)
    assert process is not None
    assert process.poll() is not None, "nothing but an end reaches a process deep in its work"
    assert not (folder / "progress.json").exists()


def test_the_end_takes_the_process_along(order, made):
    here = made(*SLEEPER)
    here.take(order())
    here.tick()
    assert here.busy
    process = here._process
    here.end()
    assert process is not None
    assert process.poll() is not None
    assert not here.busy


def test_the_oldest_maps_are_forgotten(order, made, monkeypatch):
    monkeypatch.setattr(projection_queue, "_MOST", 2)
    names = []
    for _ in range(4):
        names.append(order())
        time.sleep(0.02)
    projection_queue._sweep(folder_of(names[0]).parent)
    assert [folder_of(name).exists() for name in names] == [False, False, True, True]
