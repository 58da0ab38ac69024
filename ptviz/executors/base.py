"""The interface of an executor: what trains runs in another process, on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.status import Status
from ptviz.runs.stop_request import STOPPED_BY_USER
from ptviz.runs.store import RunSummaries, Store


class Executor(Protocol):
    """Trains runs of a store, one or many at a time, in some other process."""

    store: Store

    def check_submissions(self, configs: Sequence[RunConfig]) -> None:
        """Check that all of these new runs may be queued."""
        ...

    def submit(self, config: RunConfig) -> Run:
        """Queue a new run and see that it is trained."""
        ...

    def stop(self, id: str, reason: str = STOPPED_BY_USER) -> None:
        """Stop a run within a step, or take it out of the queue; the reason becomes part of its status."""
        ...

    def resume(self, id: str) -> Run:
        """Queue a stopped or failed run again, from its newest state."""
        ...

    def extend(self, id: str, steps: int) -> Run:
        """Queue a run that is over for ``steps`` more."""
        ...

    def branch(self, id: str, stage: int, step: int, changes: Mapping[str, Any] | None = None) -> Run:
        """Queue a new run that starts from a snapshot of another, with a fresh optimiser."""
        ...

    def ask(self, kind: str, run: str = "", *, timeout: float = 120.0, **question: Any) -> dict[str, Any]:
        """Return the answer to a question about a run: one of ``ptviz.worker.handlers.HANDLERS``."""
        ...

    def status(self, id: str) -> Status:
        """Return where a run stands."""
        ...

    def list(self) -> RunSummaries:
        """Return all runs of the store, the newest first."""
        ...

    def ensure_worker(self) -> None:
        """See that something trains the queued runs; cheap enough for every refresh of a page."""
        ...
