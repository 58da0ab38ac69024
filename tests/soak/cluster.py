"""Thirty runs on a cluster of three nodes while nodes are killed: ``python -m tests.soak.cluster [--kills 10]``.

Six methods and five seeds, tiny backbones. Every run must end, once, with the prompt of the same run trained here, bit
for bit. Prints one line for each node that is killed and each run; exits with 1 if one differs or is lost.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0")

import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.ray import RayExecutor
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, Store
from ptviz.training import TrainConfig
from tests.loopback_cluster import NODE, loopback_cluster, start_node

METHODS = ("prompt-tuning", "dept", "smop", "p-tuning-v2", "xprompt", "spot-single")


def differences(run: Run, expected: Run) -> list[str]:
    """Return what differs between two runs of one config."""
    if run.status().state != "finished":
        return [f"{run.status().state}: {run.status().reason}"]
    found = [] if run.status().test == expected.status().test else ["test score"]
    state, other = run.prompt(), expected.prompt()
    found += [name for name in other if name not in state or not torch.equal(state[name], other[name])]
    names = [[info[:2] for info in one.snapshots()] for one in (run, expected)]
    return found if names[0] == names[1] else [*found, f"snapshots {names}"]


def make_configs(folder: Path, seeds: int, steps: int) -> list[RunConfig]:
    """Return the config of every run, on a table of its own."""
    table = folder / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} thing number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    table.write_text("\n".join(["text,label", *lines]))
    training = TrainConfig(steps=steps, snapshot_every=10, evaluate_every=40, source_steps=20)
    base = RunConfig("tiny-encoder", str(table), training=training)
    return [
        replace(
            base, method=method, sources=("sms", "trec6") if method == "spot-single" else None,
            training=replace(training, seed=seed),
        )
        for seed in range(seeds) for method in METHODS
    ]  # fmt: skip


def kill_node(cluster: Any, executor: RayExecutor) -> str:
    """Kill a node that trains, and start another; return what it trained."""
    busy = [node for node in executor.describe_cluster()["nodes"] if node["alive"] and node["runs"]]
    if not busy:
        return ""
    chosen = random.choice(busy)
    own = [node for node in cluster.list_all_nodes() if node.node_id.startswith(chosen["id"])]
    if not own:
        return ""
    cluster.remove_node(own[0], allow_graceful=False)
    start_node(cluster, **NODE, wait=False)
    return ", ".join(chosen["runs"])


def main() -> int:
    """Run the campaign; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-soak-", dir="/tmp") as name:
        folder = Path(name)
        with loopback_cluster(folder / "home") as cluster:
            start_node(cluster, **NODE, wait=False)
            start_node(cluster, **NODE)
            return campaign(cluster, folder, options)


def campaign(cluster: Any, folder: Path, options: argparse.Namespace) -> int:
    """Train all runs while nodes are killed, and compare each with the same run trained here."""
    executor = RayExecutor(Store(folder / "runs"), address=cluster.address)
    configs = make_configs(folder, options.seeds, options.steps)
    runs, killed = [executor.submit(config) for config in configs], 0
    while any(run.status().state in ACTIVE_STATES for run in runs):
        time.sleep(random.uniform(0.5, 6))
        if killed < options.kills and (trained := kill_node(cluster, executor)):
            killed += 1
            print(f"killed a node that trained {trained}", flush=True)
    local, models, wrong = Store(folder / "local"), ModelCache(), 0
    for run, config in zip(runs, configs, strict=True):
        expected = local.create(config)
        execute_run(expected.path, models)
        found = differences(run, expected)
        wrong += bool(found)
        print(f"{run.id}: {found or 'the same'}", flush=True)
    extra = len(executor.list()) - len(runs) - 2
    print(f"{len(runs)} runs, {killed} nodes killed, {wrong} differ, {extra} runs too many", flush=True)
    return int(bool(wrong or extra))


if __name__ == "__main__":
    sys.exit(main())
