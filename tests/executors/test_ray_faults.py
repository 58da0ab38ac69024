"""What nodes of a cluster lack: one clear line, the run failed with it, and the others untouched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.executors.ray import RayExecutor
from ptviz.executors.ray_transfer import ClusterTransfer
from ptviz.experiments import transfer_prompts, zero_shot_transfer
from ptviz.runs import Run, RunConfig, Store
from ptviz.runs.placement import ClusterResources
from tests.app_server import ROOT
from tests.executors.test_ray import over, same_prompt, trained_here
from tests.families import model_of
from tests.loopback_cluster import NODE, loopback_cluster, start_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory limits of nodes: un-skip with a way of this system"),
]
GOOD = ClusterResources(cpus=1.5, retries=1)
"""What a run asks for that only the node without a fault has; one thread, as a local run of this suite."""
FAULTY = ClusterResources(cpus=1, gpus=1, retries=1)
"""What a run asks for that only the node of ``add_node`` has; the device is counted only, there is none."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a cluster whose disks count as full, so that a full object store cannot be spilled."""
    with loopback_cluster(tmp_path_factory.mktemp("nodes"), RAY_local_fs_capacity_threshold="0.0") as own:
        start_node(own, **NODE | {"num_cpus": 2})
        yield own


@pytest.fixture
def add_node(cluster: Any) -> Iterator[Callable[..., None]]:
    """Add a node for ``FAULTY`` with an environment of its own; remove it at the end."""
    added = []

    def add(**environment: str) -> None:
        added.append(start_node(cluster, **NODE, num_gpus=1, env_vars=environment))

    yield add
    for node in added:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def train(executor: RayExecutor, small: RunConfig) -> Callable[..., Run]:
    def submit(resources: ClusterResources, **changes: Any) -> Run:
        return RayExecutor(executor.store, resources=resources).submit(replace(small, **changes))

    return submit


def started_with(folder: Path, lines: str) -> str:
    """Return a search path on which Python runs these lines when it starts.

    Ray puts the folder of the command before a node's own search path, so that another ptviz there is not found.
    """
    (folder / "sitecustomize.py").write_text(lines)
    return f"{folder}:{ROOT}"


def failed(run: Run) -> str:
    status = over(run)
    assert status.state == "failed", status
    assert "\n" not in status.reason
    return status.reason


def others_are_trained(other: Run, small: RunConfig, folder: Path) -> None:
    assert over(other).state == "finished", other.status().reason
    same_prompt(other, trained_here(Store(folder / "runs"), small))


def test_a_node_that_is_short_of_memory(add_node, train, small, tmp_path):
    add_node(RAY_memory_usage_threshold="0.001", RAY_memory_monitor_refresh_ms="50")
    other, run = train(GOOD), train(FAULTY)
    assert failed(run).startswith("out of memory on its node")
    others_are_trained(other, small, tmp_path)


def test_a_node_with_another_ptviz(add_node, train, small, executor, tmp_path):
    add_node(PYTHONPATH=started_with(tmp_path, "import ptviz; ptviz.__version__ = '0.0.1'\n"))
    other, run = train(GOOD), train(FAULTY)
    assert "has ptviz 0.0.1, the machine of the store has" in failed(run)
    others_are_trained(other, small, tmp_path)
    runs = transfer_prompts.finished_runs(executor.store)
    measure = ClusterTransfer(RayExecutor(executor.store, resources=FAULTY)).measure
    scores = list(
        zero_shot_transfer.measure_missing(
            executor.store, runs, transfer_prompts.target_tasks(runs), 5, measure=measure
        )
    )
    assert scores
    assert all("has ptviz 0.0.1" in one.reason for one in scores)


def test_a_node_without_ptviz(add_node, train, small, tmp_path):
    lines = (
        "import sys\nclass Missing:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ptviz': raise ModuleNotFoundError(\"No module named 'ptviz'\", name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    add_node(PYTHONPATH=started_with(tmp_path, lines))
    other, run = train(GOOD), train(FAULTY)
    reason = failed(run)
    assert reason.startswith("its node lacks a package: ModuleNotFoundError: No module named 'ptviz'. Install"), reason
    others_are_trained(other, small, tmp_path)


def test_a_full_object_store(train, small, tmp_path):
    folder = tmp_path / "model"
    model_of("bert").save_pretrained(folder)
    make_tiny_tokeniser().save_pretrained(folder)
    with (folder / "weights-of-another.bin").open("wb") as file:
        file.truncate(300_000_000)
    other, run = train(GOOD), train(GOOD, backbone=str(folder))
    assert failed(run).startswith("the object store of a node is full")
    others_are_trained(other, small, tmp_path)


def test_this_machine_has_another_ray(cluster):
    program = (
        "import sys, ray; ray.__version__ = '1.0.0'\n"
        "from ptviz.executors.ray import connect; from ptviz.runs import StoreError\n"
        "try: connect(sys.argv[1])\nexcept StoreError as error: print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, cluster.address], capture_output=True, text=True)
    (line,) = answer.stdout.splitlines()
    assert "cannot be used: Version mismatch" in line
    assert "1.0.0" in line
