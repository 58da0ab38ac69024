"""Runs on a real Ray cluster of three nodes on this machine: the prompts of local runs, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch

from ptviz.engine.train_job import execute_run
from ptviz.executors.ray import RayExecutor, connect
from ptviz.executors.ray_address import ClusterPort
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, Store, StoreError
from ptviz.runs.placement import ClusterResources
from tests.app_server import HANGS_SECONDS
from tests.loopback_cluster import NODE, start_node

import ray  # isort: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes of nodes: un-skip with a way of this system"),
]
METHODS = ("prompt-tuning", "dept", "smop", "p-tuning-v2", "xprompt", "spot-single")


def wait(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + 2 * HANGS_SECONDS
    while not (found := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


def over(run: Run) -> Any:
    return wait(lambda: run.status().state not in ACTIVE_STATES and run.status())


def connections(process: psutil.Process) -> list[Any]:
    with suppress(psutil.NoSuchProcess):
        return process.net_connections("tcp")
    return []


@pytest.fixture(scope="module")
def config(small: RunConfig) -> RunConfig:
    return small


def trained_here(store: Store, config: RunConfig) -> Run:
    run = store.create(config)
    execute_run(run.path)
    return run


def same_prompt(one: Run, other: Run) -> None:
    assert one.status().state == other.status().state == "finished"
    assert [info[:2] for info in one.snapshots()] == [info[:2] for info in other.snapshots()]
    states = [(one.prompt(), other.prompt())]
    states += [(one.snapshot(*at[:2], merged=True), other.snapshot(*at[:2], merged=True)) for at in one.snapshots()]
    for state, expected in states:
        assert state.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
    assert one.status().test == other.status().test


def test_runs_of_six_methods_have_the_prompts_of_local_runs(executor, config, tmp_path):
    """``python -m tests.soak.cluster`` does the same for 30 runs, and kills nodes among them."""
    local = Store(tmp_path / "runs")
    sources = {"spot-single": ("sms", "trec6")}
    wanted = [replace(config, method=method, sources=sources.get(method)) for method in METHODS]
    runs = [executor.submit(one) for one in wanted]
    for run, one in zip(runs, wanted, strict=True):
        assert over(run).state == "finished", run.status().reason
        same_prompt(run, trained_here(local, one))
        assert not run.config.task.startswith("/root/.cache")
    assert len([one for one in executor.list() if one.config.name.startswith("source prompt")]) == 2


def test_a_node_dies_and_its_run_ends_the_same_elsewhere(cluster, executor, config, tmp_path):
    long = replace(config, training=replace(config.training, steps=600, snapshot_every=20, evaluate_every=200))
    run = executor.submit(long)
    wait(lambda: run.status().saved_step)
    node = next(node for node in executor.describe_cluster()["nodes"] if run.id in node["runs"])
    own = next(one for one in cluster.list_all_nodes() if one.node_id.startswith(node["id"]))
    cluster.remove_node(own, allow_graceful=False)
    start_node(cluster, **NODE)
    assert over(run).state == "finished", run.status().reason
    same_prompt(run, trained_here(Store(tmp_path / "runs"), long))


def test_stop_resume_extend_and_branch_work_as_locally(executor, config, tmp_path):
    long = replace(config, training=replace(config.training, steps=2000, snapshot_every=20, evaluate_every=500))
    run = executor.submit(long)
    wait(lambda: run.status().saved_step)
    executor.stop(run.id)
    assert over(run).state == "stopped"
    assert "stopped by you" in run.status().reason
    with pytest.raises(StoreError, match="extend it"):
        executor.resume(over(executor.submit(config)) and executor.list()[0].id)
    executor.resume(run.id)
    wait(lambda: run.status().state == "running")
    executor.stop(run.id)
    assert over(run).state == "stopped"
    short = executor.submit(config)
    assert over(short).state == "finished"
    executor.extend(short.id, 4)
    assert (over(short).state, short.status().step) == ("finished", 16)
    branch = executor.branch(short.id, 0, 8)
    assert over(branch).state == "finished"


def test_only_this_machine_reaches_the_cluster(cluster, executor):
    executor.attach()
    own = psutil.Process().children(recursive=True)
    listening = [one for process in own for one in connections(process) if one.status == psutil.CONN_LISTEN]
    assert len(listening) > 5
    assert {one.laddr.ip.removeprefix("::ffff:") for one in listening} == {"127.0.0.1"}


def test_a_cluster_that_is_gone_is_said_at_once(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(StoreError, match=r"no Ray cluster answers at 127\.0\.0\.1:1\. Start one with"):
        connect("127.0.0.1:1")


def test_the_driver_dies_and_its_run_goes_on(cluster, executor, config):
    """A process that submits a run is killed at once; the run is found again, and ends."""
    program = (
        "import sys; from ptviz.executors.ray import RayExecutor; from ptviz.runs import Store, RunConfig\n"
        "from ptviz.training import TrainConfig\n"
        "e = RayExecutor(Store(sys.argv[1]), address=sys.argv[2])\n"
        "t = TrainConfig(steps=300, snapshot_every=20, evaluate_every=100)\n"
        "print(e.submit(RunConfig('tiny-encoder', sys.argv[3], training=t)).id, flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(executor.store.root), cluster.address, config.task]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        run = executor.store.get(driver.stdout.readline().strip())
        driver.send_signal(signal.SIGKILL)
    assert over(run).state == "finished", run.status().reason
    assert executor.attach() == []


def test_a_collector_that_dies_is_started_again_and_loses_nothing(executor, config, tmp_path):
    long = replace(config, training=replace(config.training, steps=600, snapshot_every=20, evaluate_every=200, seed=5))
    run = executor.submit(long)
    wait(lambda: run.status().saved_step)
    pid = wait(lambda: run.status().pid)
    assert psutil.pid_exists(pid)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: executor.attach() is not None)
    assert over(run).state == "finished", run.status().reason
    same_prompt(run, trained_here(Store(tmp_path / "runs"), long))


def test_what_a_cluster_cannot_do_is_said_in_one_line(executor, config):
    gone = executor.submit(replace(config, backbone="/nowhere/model"))
    assert over(gone).state == "failed"
    assert "/nowhere/model" in gone.status().reason
    with pytest.raises(ValueError, match="gpus: expected at most 0"):
        RayExecutor(executor.store, resources=ClusterResources(gpus=1)).submit(config)
    assert over(executor.submit(replace(config, name="after"))).state == "finished"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("GCS is gone"), "no Ray cluster answers at 127.0.0.1:1. Start one with: RAY_"),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 1.0"),
            "Version mismatch: The cluster",
        ),
    ],
)
def test_a_cluster_that_cannot_be_used_is_an_error_of_one_line(monkeypatch, error: Exception, message: str):
    def init(**options: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ClusterPort, "answers", lambda port: True)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(StoreError) as caught:
        connect("127.0.0.1:1")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
