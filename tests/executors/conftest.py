"""Runs that train nothing, in milliseconds; and a real Ray cluster of three nodes on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_runs import config, events, longer, model_cache, store, table, training

if TYPE_CHECKING:
    from ptviz.executors.ray import RayExecutor
    from ptviz.runs import RunConfig

__all__ = ["config", "events", "longer", "model_cache", "store", "table", "training"]
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


def start_node(cluster: Any, **settings: Any) -> Any:
    """Add a node to a cluster; Ray gives a node 30 seconds to start, which a busy machine may need twice."""
    for left in (2, 1, 0):
        try:
            return cluster.add_node(**settings)
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError("unreachable")


@contextmanager
def loopback_cluster(home: Path, **environment: str) -> Iterator[Any]:
    """Start a head without processors, with environment variables that its nodes share; end all nodes after the block.

    Nodes take more from the environment of this process when they are added.
    """
    import ray
    from ray.cluster_utils import Cluster

    from ptviz.executors.ray_address import keep_on_loopback

    keep_on_loopback()
    with pytest.MonkeyPatch.context() as patch:
        # The models of this suite need one thread.
        shared = {"OMP_NUM_THREADS": "1", "PTVIZ_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
        # Sockets have short paths, and the suite looks for what is left in the usual place.
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        for name, value in {**shared, "TMPDIR": folder, **environment}.items():
            patch.setenv(name, value)
        own = Cluster()
        try:
            start_node(own, **NODE | {"num_cpus": 0, "include_dashboard": False})
            yield own
        finally:
            ray.shutdown()
            own.shutdown()
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a cluster of a head and two nodes with one processor each."""
    with loopback_cluster(tmp_path_factory.mktemp("nodes")) as own:
        start_node(own, **NODE, wait=False)
        start_node(own, **NODE, wait=False)
        own.wait_for_nodes()
        yield own


@pytest.fixture(scope="module")
def executor(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> RayExecutor:
    """Return the executor of a store of its own on the cluster."""
    from ptviz.executors.ray import RayExecutor
    from ptviz.runs import Store

    return RayExecutor(Store(tmp_path_factory.mktemp("root") / "runs"), address=cluster.address)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Return the config of a run of twelve steps on a table of this machine."""
    from ptviz.runs import RunConfig
    from ptviz.training import TrainConfig

    path = tmp_path_factory.mktemp("tables") / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} thing number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))
    training = TrainConfig(steps=12, evaluate_every=4, snapshot_every=4, source_steps=6)
    return RunConfig("tiny-encoder", str(path), training=training)
