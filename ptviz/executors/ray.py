"""Executor on a Ray cluster: runs are trained by its nodes, and collected into the store of this machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptviz.engine.check_table import check_table_labels
from ptviz.executors.local import LocalExecutor
from ptviz.executors.ray_address import START_COMMAND, find_port, keep_on_loopback
from ptviz.executors.ray_supervisor import Supervisor
from ptviz.executors.store_executor import StoreExecutor
from ptviz.experiments.planned_runs import find_runs, start_runs
from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.file_lock import FileLock
from ptviz.runs.placement import ClusterResources, cluster_resources, place_on_cluster
from ptviz.runs.run import Run, read_status_file
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import Status
from ptviz.runs.store import Store
from ptviz.tasks import list_tasks
from ptviz.worker.directory import WorkerInfo

import ray  # isort: skip  # After ray_supervisor, which turns its usage reports off.
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip

if TYPE_CHECKING:
    from torch import Tensor

NAMESPACE = "ptviz"
_TIMEOUT = 120.0
"""Seconds in which the collector must answer: its first start imports the libraries."""
_CHECK_SECONDS = 10.0


class RayExecutor(StoreExecutor):
    """Trains runs on the Ray cluster at ``address``, "auto" for one that this machine belongs to.

    Questions about runs are answered by the worker of this machine, as its store has all files.

    Raises:
        StoreError: if there is no such cluster, or its Ray or Python is of another version.
    """

    def __init__(
        self, store: Store | None = None, *, address: str = "auto", resources: ClusterResources | None = None
    ) -> None:
        self.local = LocalExecutor(store)
        self.store = self.local.store
        self.resources = resources or ClusterResources()
        connect(address)
        self._collector: Any = None
        self._checked = 0.0

    @property
    def collector_name(self) -> str:
        """Return the name of this store's collector in the namespace ``NAMESPACE``."""
        root = str(self.store.root.resolve())
        return f"collector-{hashlib.sha256(root.encode()).hexdigest()[:16]}"

    @property
    def collector(self) -> Any:
        """Return the collector of this store, started on this machine if there is none."""
        if self._collector is None:
            self.store.root.mkdir(parents=True, exist_ok=True)
            root = str(self.store.root.resolve())
            node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            found = Supervisor.options(
                name=self.collector_name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True,
                scheduling_strategy=node, max_concurrency=10_000,
            ).remote(root)  # fmt: skip
            _answer(found.adopt.remote())
            self._collector = found
        return self._collector

    def attach(self) -> list[str]:
        """Return the ids of the unfinished runs of the cluster, oldest first; those without a collector continue.

        Raises:
            StoreError: if the collector does not answer.
        """
        found: list[str] = _answer(self.collector.adopt.remote())
        return found

    def describe_cluster(self) -> dict[str, Any]:
        """Return the nodes with their resources and runs, and the queue.

        Returns:
            ``{"nodes": [{"id", "host", "alive", "cpus", "gpus", "runs"}], "queued": [ids], "messages", "seconds"}``.

        Raises:
            StoreError: if the collector does not answer.
        """
        state = _answer(self.collector.describe.remote())
        nodes = []
        for node in ray.nodes():
            resources = node["Resources"]
            runs = [id for id, where in state["training"].items() if where == node["NodeID"]]
            nodes.append({
                "id": node["NodeID"][:8], "host": node["NodeManagerHostname"], "alive": node["Alive"],
                "cpus": resources.get("CPU", 0), "gpus": resources.get("GPU", 0), "runs": runs,
            })  # fmt: skip
        return {"nodes": nodes, "queued": state["queued"], "messages": state["messages"], "seconds": state["seconds"]}

    def check_resources(self) -> None:
        """Check that some node has what a run asks for: otherwise it would wait for ever.

        Raises:
            ValueError: if none has.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for name, wanted in (("CPU", self.resources.cpus), ("GPU", self.resources.gpus)):
            most = max((node.get(name, 0) for node in nodes), default=0)
            if wanted > most:
                raise ValueError(
                    f"{name.lower()}s: expected at most {most:g}, the most that a node has; got {wanted:g}"
                )

    def create_idle(self, config: RunConfig) -> Run:
        """Create a run of the cluster that waits to be started, as ``ptviz.executors.ray_tune`` does.

        Raises:
            ValueError: if the config is wrong, or no node has what the run asks for.
            StoreError: if the folder cannot be written.
        """
        config = with_absolute_paths(config)
        check_table_labels(config)
        return self._create_idle(config)

    def ensure_worker(self) -> None:
        """See that the collector lives: Ray starts it again, and then it continues its runs.

        Raises:
            StoreError: if it does not answer.
        """
        if time.monotonic() - self._checked > _CHECK_SECONDS:
            _answer(self.collector.adopt.remote())
            self._checked = time.monotonic()

    def predict(
        self, id: str, texts: Sequence[str], stage: int | None = None, step: int | None = None, timeout: float = 60.0
    ) -> dict[str, Any]:
        """Return the answers to texts, as ``LocalExecutor.predict`` does."""
        return self.local.predict(id, texts, stage, step, timeout)

    def ask(self, kind: str, run: str = "", *, timeout: float = 120.0, **question: Any) -> dict[str, Any]:
        """Return the answer to a question, as ``LocalExecutor.ask`` does."""
        return self.local.ask(kind, run, timeout=timeout, **question)

    def preload_models(self, config: RunConfig) -> None:
        """Do nothing: a node loads its models with the first run."""

    def worker_info(self) -> WorkerInfo | None:
        """Return the worker of this machine, which answers questions, or None."""
        return self.local.worker_info()

    def request_shutdown(self, at_once: bool = False) -> None:
        """Ask the worker of this machine to end; the cluster and its runs go on."""
        self.local.request_shutdown(at_once)

    def _create(self, config: RunConfig, start: Mapping[str, Tensor] | None = None) -> Run:
        run = self._create_idle(config, start)
        super()._enqueue(run, read_status_file(run.path))
        return run

    def _create_idle(self, config: RunConfig, start: Mapping[str, Tensor] | None = None) -> Run:
        self.check_resources()
        resources = replace(self.resources, sources=self._source_runs(config))
        run = self.store.create(config, start=start)
        place_on_cluster(run.path, resources)
        return run

    def _enqueue(self, run: Run, status: Status) -> None:
        known = cluster_resources(run.path)
        sources = known.sources if known is not None else self._source_runs(run.config)
        place_on_cluster(run.path, replace(self.resources, sources=sources))
        super()._enqueue(run, status)

    def _start(self, run: Run) -> None:
        _answer(self.collector.enqueue.remote(run.id))

    def _source_runs(self, config: RunConfig) -> tuple[str, ...]:
        """Return the runs of the source prompts of a run; missing ones are queued first, each once."""
        from ptviz.engine.model_cache import load_run_task
        from ptviz.engine.source_prompt_runs import source_run_configs

        if not list_methods()[config.method].needs_source_prompts:
            return ()
        known = {info.name for info in list_tasks()}
        family = "" if config.sources is not None or config.task in known else load_run_task(config).family
        planned = config.estimate()
        lock = FileLock(self.store.root / ".cluster.lock")
        self.store.root.mkdir(parents=True, exist_ok=True)
        while not lock.acquire(wait=10.0):  # Another process plans the source prompts of a run.
            continue
        try:
            wanted = source_run_configs(config, planned.slots, family)
            return tuple(str(entry.run) for entry in start_runs(self, find_runs(self.store, wanted)))
        finally:
            lock.release()


def connect(address: str) -> None:
    """Connect this process to a cluster, once.

    Raises:
        StoreError: if there is none, or its Ray or Python is of another version.
    """
    if ray.is_initialized():
        return
    where = "this machine belongs to no Ray cluster" if address == "auto" else f"no Ray cluster answers at {address}"
    missing = f"{where}. Start one with: {START_COMMAND}"
    port = find_port(address)
    if port is not None and not port.answers():
        raise StoreError(missing)
    if port is not None and port.is_loopback:
        keep_on_loopback()
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        raise StoreError(missing) from error
    except (RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise StoreError(f"the Ray cluster at {address} cannot be used: {line[:400]}") from error


def _answer(reference: Any) -> Any:
    """Return an answer of the collector.

    Raises:
        StoreError: if it does not come in time, or the collector died.
    """
    try:
        return ray.get(reference, timeout=_TIMEOUT)
    except ray.exceptions.RayError as error:
        line = " ".join(str(error).split())
        raise StoreError(f"the collector of the cluster does not answer: {line[:400]}") from error
