"""The store and the executor that all pages share, and requests to the worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from ptviz import paths
from ptviz.analysis.projection import Projection
from ptviz.classroom.rules import ClassroomRules, active_rules
from ptviz.classroom.visitor_executor import VisitorExecutor
from ptviz.classroom.visitor_store import VisitorStore, uploads_folder
from ptviz.executors.choose import is_local, make_executor
from ptviz.executors.local import LocalExecutor
from ptviz.runs import RunConfig, Store
from ptviz.runs.default_store import set_default_store
from ptviz.runs.run_file_io import StoreError
from ptviz.ui.classroom import bind_visitor, current_visitor
from ptviz.worker.projection_process import ProjectionJob, enqueue, is_pending, load_progress, load_projection
from ptviz.worker.projection_queue import projection_folder

if TYPE_CHECKING:
    from ptviz.executors.ray import RayExecutor

logger = logging.getLogger(__name__)
T = TypeVar("T")


def get_store() -> Store:
    """Return the store of this user's runs; in a classroom, the visitor's view of it.

    Outside of a session, and of ``run_in_thread``, it holds only what all see.
    """
    visitor, rules = current_visitor(), active_rules()
    if visitor is None or rules is None or visitor.is_teacher:
        return whole_store()
    return _visitor_store(paths.data_dir() / "runs", visitor.id, rules)


def whole_store() -> Store:
    """Return the store with the runs of all visitors: for the server, and for results that reveal no run."""
    return _cached_store(paths.data_dir() / "runs")


def get_client() -> LocalExecutor | RayExecutor:
    """Return the executor that starts, stops and queries runs: on this machine, or as ``PTVIZ_EXECUTOR`` says.

    In a classroom it is the visitor's, which keeps to the rules.

    Raises:
        StoreError: if the cluster cannot be used.
    """
    visitor, rules = current_visitor(), active_rules()
    if visitor is None or rules is None or visitor.is_teacher:
        return server_client()
    return _visitor_client(paths.data_dir() / "runs", visitor.id, rules)


def server_client() -> LocalExecutor | RayExecutor:
    """Return the executor without the rules of a classroom: for the server itself."""
    return _cached_client(paths.data_dir() / "runs")


@lru_cache(maxsize=8)
def _cached_store(root: Path) -> Store:
    return Store(root)


@lru_cache(maxsize=8)
def _cached_client(root: Path) -> LocalExecutor | RayExecutor:
    store = _cached_store(root)
    return LocalExecutor(store) if is_local() else make_executor(store=store)


@lru_cache(maxsize=256)
def _visitor_store(root: Path, owner: str, rules: ClassroomRules) -> VisitorStore:
    return VisitorStore(_cached_store(root), owner, rules)


@lru_cache(maxsize=256)
def _visitor_client(root: Path, owner: str, rules: ClassroomRules) -> VisitorExecutor:
    return VisitorExecutor(_visitor_store(root, owner, rules), uploads_folder(owner))


def run_in_thread(action: Callable[[], T]) -> Future[T]:
    """Run what waits for the worker in a thread: a page must not wait. ``action`` calls no ``st.*``."""
    future: Future[T] = Future()
    action = bind_visitor(action)

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    # Not a pool: Python waits for a pool's threads when it ends, and Ctrl-C must not wait for an answer.
    Thread(target=run, name="ptviz-ask", daemon=True).start()
    return future


def request_answer(kind: str, run: str = "", **question: Any) -> Future[dict[str, Any]]:
    """Request an answer of the worker: ``kind`` is in ``ptviz.worker.handlers.HANDLERS``, ``question`` its keywords."""
    return run_in_thread(lambda: get_client().ask(kind, run, **question))


def request_projection(run: str, job: ProjectionJob) -> Future[tuple[Projection, ...] | None]:
    """Request a projection from the worker, which may take minutes; None if the job is cancelled first."""
    folder = projection_folder(job.digest)

    def wait() -> tuple[Projection, ...] | None:
        enqueue(job, folder)
        while (projections := load_projection(folder)) is None:
            if problem := load_progress(folder).error:
                raise StoreError(problem)
            if not is_pending(folder):
                return load_projection(folder)
            # Repeatedly: a worker that died is started again, and a living one ignores a job that it has.
            get_client().ask("map", run, name=job.digest)
            time.sleep(1.0)
        return projections

    return run_in_thread(wait)


def has_models(config: RunConfig) -> bool:
    """Return whether the backbone and the tasks of a run are known ones that are installed."""
    from ptviz import backbones, tasks

    here = {info.name for info in backbones.list_backbones() if info.available}
    here |= {info.name for info in tasks.list_tasks() if info.available}
    return {config.backbone, *config.targets} <= here


def request_preload(config: RunConfig) -> None:
    """Have the worker load the models of a run that may be started, so that its first step comes at once."""
    run_in_thread(lambda: _log_failures(lambda: get_client().preload_models(config)))


def start_worker() -> None:
    """Start the worker if none runs, and have it load the models of the default run."""
    _log_failures(lambda: server_client().preload_models(RunConfig()))


def stop_idle_worker() -> None:
    """Stop the worker if it trains nothing and no run is queued."""

    def stop() -> None:
        worker = server_client().worker_info()
        if worker is not None and worker.run is None and not whole_store().queued_runs():
            server_client().request_shutdown()

    _log_failures(stop)


def _log_failures(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        # Only preparation: starting a run reports the error.
        logger.warning("the local worker could not be reached", exc_info=True)


def clear_caches() -> None:
    """Drop the cached stores and executors: for tests with a folder of their own."""
    for cached in (_cached_store, _cached_client, _visitor_store, _visitor_client):
        cached.cache_clear()


set_default_store(get_store)  # Plots that are given the id of a run look it up as its visitor.
