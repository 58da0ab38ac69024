"""The store and the executor that every page shares, and the questions asked of the worker beside the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from ptviz import places
from ptviz.runs import LocalExecutor, RunConfig, Store

logger = logging.getLogger(__name__)
T = TypeVar("T")


def store() -> Store:
    """The runs of this machine's user."""
    return _store(places.home() / "runs")


def executor() -> LocalExecutor:
    """What starts, stops and asks runs on this machine."""
    return _executor(places.home() / "runs")


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


def attention(run: str, text: str, stage: int, step: int) -> Future[dict[str, Any]]:
    """Ask the worker what a text looks at in the prompt; of a validation text if there is none."""
    return _beside(lambda: executor().attention(run, text, stage, step))


def operate(run: str, action: str, stage: int, step: int) -> Future[dict[str, Any]]:
    """Ask the worker what each prompt token is worth, by changing one at a time."""
    return _beside(lambda: executor().operate(run, action, stage, step))


def keep_vocabulary(run: str) -> Future[None]:
    """Ask the worker to put the embedding table of a run's backbone on disk."""
    return _beside(lambda: executor().keep_vocabulary(run))


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
