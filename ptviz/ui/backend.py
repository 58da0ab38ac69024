"""The store and the executor that every page shares, and the questions asked of the worker beside the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from ptviz import paths
from ptviz.analysis.projection import Projection
from ptviz.executors.local import LocalExecutor
from ptviz.runs import RunConfig, Store
from ptviz.runs.atomic_io import StoreError
from ptviz.worker.projection_process import ProjectionJob, enqueue, is_pending, load_progress, load_projection
from ptviz.worker.projection_queue import projection_folder

logger = logging.getLogger(__name__)
T = TypeVar("T")


def get_store() -> Store:
    """The runs of this machine's user."""
    return _cached_store(paths.data_dir() / "runs")


def get_client() -> LocalExecutor:
    """What starts, stops and asks runs on this machine."""
    return _cached_client(paths.data_dir() / "runs")


@lru_cache(maxsize=8)
def _cached_store(root: Path) -> Store:
    return Store(root)


@lru_cache(maxsize=8)
def _cached_client(root: Path) -> LocalExecutor:
    return LocalExecutor(_cached_store(root))


def _run_in_thread(action: Callable[[], T]) -> Future[T]:
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


def request_answer(kind: str, run: str = "", **question: Any) -> Future[dict[str, Any]]:
    """Ask the worker in a thread: ``kind`` is one of ``ptviz.worker.handlers.HANDLERS``, ``question`` its keywords."""
    return _run_in_thread(lambda: get_client().ask(kind, run, **question))


def request_projection(run: str, order: ProjectionJob) -> Future[tuple[Projection, ...] | None]:
    """Ask the worker for a map, which takes minutes; None if the order is taken back on the way."""
    folder = projection_folder(order.digest)

    def wait() -> tuple[Projection, ...] | None:
        enqueue(order, folder)
        while (maps := load_projection(folder)) is None:
            if problem := load_progress(folder).error:
                raise StoreError(problem)
            if not is_pending(folder):
                return load_projection(folder)
            # Again and again: a worker that died meanwhile is started anew, a living one knows the order.
            get_client().ask("map", run, name=order.digest)
            time.sleep(1.0)
        return maps

    return _run_in_thread(wait)


def request_preload(config: RunConfig) -> None:
    """Hint to the worker that such a run may come: its first step then appears at once."""
    _run_in_thread(lambda: _log_failures(lambda: get_client().preload_models(config)))


def start_worker() -> None:
    """Start the worker if none runs, and let it load what a first-time visitor's big Start button needs."""
    _log_failures(lambda: get_client().preload_models(RunConfig()))


def stop_idle_worker() -> None:
    """Let the worker go if it trains nothing and nothing waits; a busy one is left alone."""

    def stop() -> None:
        worker = get_client().worker_info()
        if worker is not None and worker.run is None and not get_store().queued_runs():
            get_client().request_shutdown()

    _log_failures(stop)


def _log_failures(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        # Only hints: whatever is wrong is told properly when a person starts a run.
        logger.warning("the local worker could not be reached", exc_info=True)


def clear_caches() -> None:
    """Let go of stores and executors, so that the next call makes them anew: for tests with a folder of their own."""
    _cached_store.cache_clear()
    _cached_client.cache_clear()
