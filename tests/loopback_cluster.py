"""A real Ray cluster on this machine that nothing else reaches, for the tests and the soak; nothing is left of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
_ATTEMPTS = 10


def start_node(cluster: Any, **settings: Any) -> Any:
    """Add a node to a cluster. Ray gives it 30 seconds to start: too few on a busy machine, so it is tried again."""
    for left in reversed(range(_ATTEMPTS)):
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
        shared = {"OMP_NUM_THREADS": "1", "PTVIZ_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
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
