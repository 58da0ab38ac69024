"""Runs that train nothing, in milliseconds; and a real Ray cluster of three nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_runs import config, events, longer, model_cache, store, table, training
from tests.loopback_cluster import NODE, loopback_cluster, start_node

if TYPE_CHECKING:
    from ptviz.executors.ray import RayExecutor
    from ptviz.runs import RunConfig

__all__ = ["config", "events", "longer", "model_cache", "store", "table", "training"]


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
