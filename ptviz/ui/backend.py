"""The store and the executor that every page shares, and the questions asked of the worker beside the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from ptviz import paths
from ptviz.analysis.projection import Map
from ptviz.executors.local import LocalExecutor
from ptviz.runs import RunConfig, Store
from ptviz.runs.atomic_io import StoreError
from ptviz.worker.projection_process import Order, laid, ordered, place, progress
from ptviz.worker.projection_queue import folder_of

logger = logging.getLogger(__name__)
T = TypeVar("T")


def store() -> Store:
    """The runs of this machine's user."""
    return _store(paths.home() / "runs")


def executor() -> LocalExecutor:
    """What starts, stops and asks runs on this machine."""
    return _executor(paths.home() / "runs")


@lru_cache(maxsize=8)
def _store(root: Path) -> Store:
    return Store(root)


@lru_cache(maxsize=8)
def _executor(root: Path) -> LocalExecutor:
    return LocalExecutor(_store(root))


def _beside(action: Callable[[], T]) -> Future[T]:
    """Do something that waits for the worker beside the page, which must not wait. ``action`` calls no ``st.*``."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    # Not a pool: Python waits for a pool's threads when it ends, and Ctrl-C must not wait for an answer.
    Thread(target=run, name="ptviz-ask", daemon=True).start()
    return future


def ask(run: str, text: str, stage: int | None = None, step: int | None = None) -> Future[dict[str, Any]]:
    """Ask the worker for the class probabilities of one sentence; the answer comes when it comes."""
    return _beside(lambda: executor().predict(run, [text], stage=stage, step=step))


def route(run: str, texts: Sequence[str], stage: int, step: int) -> Future[dict[str, Any]]:
    """Ask the worker where texts are routed, or some validation rows if there are none."""
    return _beside(lambda: executor().route(run, texts, stage, step))


def attention(
    run: str, text: str, stage: int | None, step: int | None, row: int = 0, task: str = ""
) -> Future[dict[str, Any]]:
    """Ask the worker what a text looks at in the prompt, or the validation text at place ``row`` if it is empty."""
    return _beside(lambda: executor().attention(run, text, stage, step, row, task))


def operate(run: str, what: str, stage: int, step: int, **more: Any) -> Future[dict[str, Any]]:
    """Ask the worker for surgery on a run's prompt: edits, ablation, importance, faithfulness, or to save it."""
    return _beside(lambda: executor().operate(run, what, stage, step, **more))


def measure(what: str, run: str, stage: int | None, step: int | None, **more: Any) -> Future[dict[str, Any]]:
    """Ask the worker for one of ``ptviz.worker.probe_requests.MEASURES``."""
    return _beside(lambda: executor().measure(run, what, stage, step, **more))


def keep_vocabulary(run: str) -> Future[None]:
    """Ask the worker to put the embedding table of a run's backbone on disk."""
    return _beside(lambda: executor().keep_vocabulary(run))


def keep_words(backbone: str) -> Future[None]:
    """Ask the worker to put the embedding table of a backbone on disk; for one that a person named."""
    return _beside(lambda: executor().keep_words(backbone))


def lay_map(run: str, order: Order) -> Future[tuple[Map, ...] | None]:
    """Ask the worker for a map, which takes minutes; None if the order is taken back on the way."""
    folder = folder_of(order.name)

    def wait() -> tuple[Map, ...] | None:
        place(order, folder)
        while (maps := laid(folder)) is None:
            if problem := progress(folder).problem:
                raise StoreError(problem)
            if not ordered(folder):
                return laid(folder)
            # Again and again: a worker that died meanwhile is started anew, a living one knows the order.
            executor().lay_map(run, order.name)
            time.sleep(1.0)
        return maps

    return _beside(wait)


def warm(config: RunConfig) -> None:
    """Hint to the worker that such a run may come: its first step then appears at once."""
    _beside(lambda: _quietly(lambda: executor().warm(config)))


def start_worker() -> None:
    """Start the worker if none runs, and let it load what a first-time visitor's big Start button needs."""
    _quietly(lambda: executor().warm(RunConfig()))


def stop_idle_worker() -> None:
    """Let the worker go if it trains nothing and nothing waits; a busy one is left alone."""

    def stop() -> None:
        worker = executor().worker()
        if worker is not None and worker.run is None and not store().queue():
            executor().retire()

    _quietly(stop)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        # Only hints: whatever is wrong is told properly when a person starts a run.
        logger.warning("the local worker could not be reached", exc_info=True)


def forget() -> None:
    """Let go of stores and executors, so that the next call makes them anew: for tests with a folder of their own."""
    _store.cache_clear()
    _executor.cache_clear()
