"""The supervisor of the runs on a cluster, as an actor of Ray on the machine of the store; it outlives who started it.

It owns the tasks of the runs, so that they go on when that process ends: it starts each on a node, and again from the
last saved state if the node died. Ray starts the actor again if it dies; it then continues the runs of its store from
what was collected.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cachetools import LRUCache

import ptviz
from ptviz.executors.ray_errors import LOST, first_line, loss_reason, task_reason
from ptviz.executors.ray_node import (
    Content,
    Departure,
    content_digest,
    content_signature,
    local_paths,
    pack_content,
    train_on_node,
)
from ptviz.executors.run_collector import RunCollector
from ptviz.executors.run_mirror import Change
from ptviz.executors.run_stream import Reply
from ptviz.runs.placement import ClusterResources, cluster_resources
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import Store

import ray  # isort: skip  # After ray_node, which turns its usage reports off.
from ray import exceptions  # isort: skip

_POLL_SECONDS = 0.5
"""Seconds between two looks at the source prompts that a run waits for."""
_MAX_CONTENTS = 8
"""Local models and tables kept in the object store."""
_EVENT_SECONDS = 0.1
"""Seconds between two looks at the events of a run that is stopped early if it lags behind."""


class SupervisorActor:
    """Queues runs on the cluster, and writes what their nodes send into the store at ``root``."""

    def __init__(self, root: str) -> None:
        self.collector = RunCollector(Store(root))
        self._handle = ray.get_runtime_context().current_actor
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._nodes: dict[str, str] = {}
        # What was used last: a model that no run uses any more must not fill the object store.
        self._contents: LRUCache[tuple[str, Any], Content] = LRUCache(_MAX_CONTENTS)
        self._sent: dict[str, dict[str, Any]] = {}
        self._received = 0
        self._began = time.time()

    async def adopt(self) -> list[str]:
        """Continue the runs of this store that are queued, or whose collector died; return the unfinished ones."""
        found = self.collector.unfinished_runs()
        for id in found:
            with suppress(StoreError):  # Another process writes it, or it was deleted just now.
                if id not in self._runs and self.collector.adopt(id):
                    await self.enqueue(id)
        return found

    async def enqueue(self, id: str) -> None:
        """Train a queued run on the cluster; one that waits for a node already keeps its place."""
        if id not in self._runs:
            self._runs[id] = asyncio.create_task(self._train(id))

    async def start(self, id: str) -> None:
        """Queue an idle run of the cluster and train it; an active or finished one is left as it is."""
        if self.collector.queue(id):
            await self.enqueue(id)

    async def next_evaluation(self, id: str, after: int) -> tuple[int, float] | None:
        """Return the step over all stages and the score of the evaluation ``after`` so many; None at the end."""
        run = self.collector.store.get(id)
        while True:
            active = run.status().state in ACTIVE_STATES
            history = run.history()
            if len(history.evaluations) > after:
                return history.evaluation_steps[after], history.evaluations[after].accuracy
            if not active:
                return None
            await asyncio.sleep(_EVENT_SECONDS)

    async def stop_early(self, id: str, reason: str) -> None:
        """Stop a run that a node trains, for a reason of its own."""
        self.collector.stop_early(id, reason)

    async def begin(self, id: str, node: str) -> Departure | None:
        """Open a run for the node that trains it now; None if it is no longer wanted."""
        folder = self.collector.store.root / id
        resources = cluster_resources(folder) or ClusterResources()
        packed = self.collector.begin(id, resources.sources)
        if packed is None:
            return None
        self._nodes[id] = node
        contents = [await self._content(path) for path in local_paths(self.collector.store.get(id).config)]
        return Departure(packed, tuple(contents))

    async def begin_shared(self, id: str, node: str) -> None:
        """Note the node that trains a run on shared storage now."""
        self._nodes[id] = node

    async def receive(self, id: str, attempt: str, changes: list[Change]) -> Reply:
        """Write the changes of a run."""
        self._received += 1
        return self.collector.receive(id, attempt, changes)

    async def describe(self) -> dict[str, Any]:
        """Return the runs that are trained by the ids of their nodes, those in the queue, and the messages so far."""
        queued = [id for id in self._runs if id not in self._nodes]
        counts = {"messages": self._received, "seconds": time.time() - self._began}
        return {"training": dict(self._nodes), "queued": queued, "version": ptviz.__version__, **counts}

    async def discard(self, id: str) -> None:
        """Close a run of the benchmark, which no node trains."""
        self.collector.fail(id, "a synthetic run of the benchmark")

    async def sent_by(self, id: str) -> dict[str, Any]:
        """Return how many bytes and messages a finished run has sent."""
        return self._sent.get(id, {})

    async def _train(self, id: str) -> None:
        """Train a run on one node after another until it ends."""
        resources = cluster_resources(self.collector.store.root / id) or ClusterResources()
        try:
            with self._held(id, resources):
                await self._train_until_it_ends(id, resources)
        except exceptions.RayError as error:
            self._fail(id, task_reason(error), str(error))
        except Exception as error:
            self._fail(id, first_line(error), traceback.format_exc())
        finally:
            self._nodes.pop(id, None)
            self._runs.pop(id, None)

    @contextmanager
    def _held(self, id: str, resources: ClusterResources) -> Iterator[None]:
        """Have a run on shared storage count as active in the block; that of another run is locked by ``begin``."""
        if not resources.shared:
            yield
            return
        lock = self.collector.hold(id)
        try:
            yield
        finally:
            lock.release()

    async def _train_until_it_ends(self, id: str, resources: ClusterResources) -> None:
        await self._wait_for_sources(resources.sources)
        root = str(Path(self.collector.store.root).resolve()) if resources.shared else None
        task = train_on_node.options(num_cpus=resources.cpus, num_gpus=resources.gpus, name=f"ptviz {id}")
        for deaths in range(resources.retries + 1):
            try:
                self._sent[id] = await task.remote(self._handle, id, root, ptviz.__version__, resources.cpus)
            except LOST as error:
                self._nodes.pop(id, None)
                if deaths == resources.retries:
                    raise StoreError(loss_reason(error, deaths + 1)) from error
                if not self.collector.requeue(id, "its node died"):
                    return
            else:
                self.collector.close(id)
                return

    async def _wait_for_sources(self, sources: tuple[str, ...]) -> None:
        for source in sources:
            while (state := self.collector.state_of(source)) != "finished":
                if state in ("queued", "running", "stopping") or source in self._runs:
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    raise StoreError(f"the run {source} of a source prompt is {state}; resume it, and then this run")

    async def _content(self, path: Path) -> Content:
        """Return a local model or table in the object store, put there once for each content."""
        key = str(path), content_signature(path)
        if key not in self._contents:
            digest = await asyncio.to_thread(content_digest, path)
            self._contents[key] = await asyncio.to_thread(pack_content, path, digest)
        found: Content = self._contents[key]
        return found

    def _fail(self, id: str, reason: str, details: str = "") -> None:
        self.collector.fail(id, reason, details)


Supervisor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(SupervisorActor)
