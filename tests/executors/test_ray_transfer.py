"""``ptviz transfer --executor ray`` on a real cluster: the scores of a local measurement, whatever dies."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ptviz
from ptviz.cli import run as run_command
from ptviz.engine.train_job import execute_run
from ptviz.executors import ray_transfer
from ptviz.executors.ray import RayExecutor
from ptviz.executors.ray_transfer import ClusterTransfer
from ptviz.experiments import transfer_gain, transfer_prompts, zero_shot_transfer
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.runs import RunConfig, Store, saved_prompts
from ptviz.runs.target_run import TARGET_MARK
from tests.loopback_cluster import NODE, start_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes of nodes: un-skip with a way of this system"),
]


@pytest.fixture(scope="module")
def trained(executor: RayExecutor, small: RunConfig) -> Store:
    """Return the executor's store with a run on each of two tables, and a saved prompt of the first."""
    store, other = executor.store, Path(small.task).with_name("songs.csv")
    other.write_text(Path(small.task).read_text().replace("thing", "song"))
    for config in (small, replace(small, task=str(other))):
        execute_run(store.create(config).path)
    run = store.list()[0]
    tensors = {"embeddings": next(iter(store.get(run.id).prompt().values()))}
    saved_prompts.save_prompt(store.prompts_folder, tensors, "mine", run.config.backbone, small.task, {"run": run.id})
    return store


def copied(store: Store, folder: Path) -> Store:
    """Return a copy of a store without its measurements."""
    for name in ("runs", "prompts"):
        shutil.copytree(store.root.with_name(name), folder / name)
    (folder / "runs" / ".transfer.json").unlink(missing_ok=True)
    return Store(folder / "runs")


def plain(found: dict[Any, Any]) -> dict[Any, Any]:
    return {key: replace(one, seconds=0.0) if hasattr(one, "seconds") else one for key, one in found.items()}


def test_scores_are_those_of_a_local_measurement(executor: RayExecutor, trained: Store, tmp_path: Path):
    local = copied(trained, tmp_path)
    runs, cluster = transfer_prompts.source_prompts(trained), ClusterTransfer(executor)
    tasks = transfer_prompts.target_tasks(runs, ["sms"])
    assert len(list(zero_shot_transfer.measure_missing(local, runs, tasks, 12))) == 12
    found = list(zero_shot_transfer.measure_missing(trained, runs, tasks, 12, measure=cluster.measure))
    assert [one.reason for one in found] == [""] * 12
    assert zero_shot_transfer.measured_scores(trained, runs, tasks, 12) == zero_shot_transfer.measured_scores(
        local, runs, tasks, 12
    )
    assert not list(zero_shot_transfer.measure_missing(trained, runs, tasks, 12, measure=cluster.measure))


def test_a_node_dies_and_every_gain_is_that_of_a_local_training(
    cluster: Any, executor: RayExecutor, trained: Store, tmp_path: Path
):
    local, setting = copied(trained, tmp_path), TransferGainSettings(steps=60, seeds=2, rows=12)
    runs, remote = transfer_prompts.source_prompts(trained), ClusterTransfer(executor)
    tasks = transfer_prompts.target_tasks(runs)
    missing = transfer_gain.count_missing_runs(trained, runs, tasks, setting)
    going = transfer_gain.train_missing_pairs(trained, runs, tasks, setting, train=remote.train)
    found = [next(going)]
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    start_node(cluster, **NODE)
    found += going
    assert [one.reason for one in found if one] == [""] * missing
    list(transfer_gain.train_missing_pairs(local, runs, tasks, setting))
    expected = transfer_gain.measured_runs(local, runs, tasks, setting)
    assert plain(transfer_gain.measured_runs(trained, runs, tasks, setting)) == plain(expected)


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(executor: RayExecutor, trained: Store):
    runs = transfer_prompts.finished_runs(trained)
    path = trained.get(runs[0].id).path / "prompt.safetensors"
    kept = path.read_bytes()
    path.write_bytes(b"cut")
    try:
        found = list(
            zero_shot_transfer.measure_missing(
                trained, runs, transfer_prompts.target_tasks(runs), 7, measure=ClusterTransfer(executor).measure
            )
        )
    finally:
        path.write_bytes(kept)
    assert {one.run for one in found if one.reason} == {runs[0].id}
    assert sum(not one.reason for one in found) == 4
    assert all("\n" not in one.reason for one in found)


def test_the_targets_of_one_run_are_measured_on_a_node(small: RunConfig, store: Store, monkeypatch: pytest.MonkeyPatch):
    other = Path(small.task).with_name("films.csv")
    other.write_text(Path(small.task).read_text().replace("thing", "film"))
    run = store.create(replace(small, method="mpt", more_tasks=(str(other),), sources=("sms",)))
    execute_run(run.path)
    assert run.status().state == "finished", run.status().reason
    runs = [one for one in transfer_prompts.finished_runs(store) if TARGET_MARK in one.id]
    tasks = transfer_prompts.target_tasks(runs)
    sent: list[Any] = []

    def on_this_node(jobs: Any) -> Any:
        prompts = ClusterTransfer._pack_prompts(SimpleNamespace(store=store), jobs)  # type: ignore[arg-type]
        assert [*prompts] == [run.id], "its targets share its files"
        sent.append(ray_transfer._Parcel(tuple(jobs), prompts, ()))
        # The function of the node in this process, without a cluster.
        yield from ray_transfer._measure_on_node._function(ptviz.__version__, 1, ["parcel"])

    monkeypatch.setattr(ray_transfer, "prepare_node", lambda version, cpus: None)
    monkeypatch.setattr(ray_transfer.ray, "get", lambda reference: sent[-1])
    found = list(zero_shot_transfer.measure_missing(store, runs, tasks, 7, measure=on_this_node))
    assert [one.reason for one in found] == [""] * 6
    assert {one.run for one in found} >= {one.id for one in runs}
    assert all(one.accuracy >= 0 for one in found)


def test_the_command_takes_the_cluster(
    cluster: Any, trained: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PTVIZ_HOME", str(trained.root.parent))
    words = ["transfer", "--rows", "9", "--executor", "ray", "--address", cluster.address, "--json"]
    assert run_command(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["measured"], shown["reused"], shown["refused"]) == (8, 0, [])
