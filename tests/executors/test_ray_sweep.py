"""``ptviz sweep`` with early stopping: on one machine, and on a real cluster by Ray Tune; shared storage; attach."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from ptviz.cli import run as run_command
from ptviz.executors.ray import RayExecutor
from ptviz.experiments.replication import ReplicationStudy
from ptviz.experiments.replication.study import Arm, ArmSetting, Comparison
from ptviz.experiments.sweep import STOPPED_EARLY
from ptviz.runs import Run, Store
from ptviz.runs.placement import ClusterResources, cluster_resources
from tests.app_server import end_processes
from tests.executors.test_ray import over, same_prompt, trained_here, wait
from tests.loopback_cluster import NODE, start_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes of nodes: un-skip with a way of this system"),
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of a good rate and of one that learns nothing, on a table with a label that is four times as common."""
    folder = tmp_path_factory.mktemp("sweep")
    lines = [f"{'good' if i % 5 else 'bad'} thing number {i},{'yes' if i % 5 else 'no'}" for i in range(60)]
    (folder / "texts.csv").write_text("\n".join(["text,label", *lines]))
    path = folder / "rates.toml"
    path.write_text(
        f'name = "rates"\nmethods = "p-tuning-v2"\nbackbones = "tiny-encoder"\ntasks = "{folder / "texts.csv"}"\n'
        'seeds = 1\nsearch = "asha"\nsamples = 8\n'
        "[early_stopping]\ngrace = 20\nreduction = 2\n"
        "[training]\nsteps = 800\nevaluate_every = 20\nsnapshot_every = 20\nlr = [1.0, 1e-6]\n"
    )
    return path


def behind(store: Store) -> dict[float, Run]:
    """Return the runs of the sweep by rate."""
    return {float(one.config.training.lr or 0): store.get(one.id) for one in store.list()}


def check_that_the_bad_rate_was_stopped(runs: dict[float, Run]) -> None:
    assert runs[1.0].status().state == "finished"
    assert runs[1e-6].status().reason.startswith(f"{STOPPED_EARLY} at step ")
    assert 20 <= runs[1e-6].status().step < 800


def test_a_lagging_run_is_stopped_early_on_this_machine(spec, tmp_path, monkeypatch, capsys, request):
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    request.addfinalizer(lambda: end_processes(tmp_path))  # the command leaves its worker to the next one
    assert run_command(["sweep", str(spec), "--json"]) == 0
    assert "1 run was stopped early by ASHA" in capsys.readouterr().err
    store = Store()
    runs = behind(store)
    check_that_the_bad_rate_was_stopped(runs)
    step = runs[1e-6].status().step
    assert run_command(["sweep", str(spec), "--json"]) == 0
    assert len(store.list()) == 2
    assert runs[1e-6].status().step == step


def test_a_lagging_run_is_stopped_early_on_a_cluster(spec, cluster, executor, monkeypatch, capsys):
    monkeypatch.setenv("PTVIZ_HOME", str(executor.store.root.parent))
    words = ["sweep", str(spec), "--executor", "ray", "--address", cluster.address, "--json"]
    assert run_command(words) == 0
    capsys.readouterr()
    runs = behind(executor.store)
    assert run_command(words) == 0
    assert json.loads(capsys.readouterr().out)["reused"] >= 1
    assert len(executor.store.list()) == 2
    # Both train at once: which is compared first is open, but not that the good rate is finished.
    assert runs[1.0].status().state == "finished"
    assert runs[1e-6].status().state == "finished" or runs[1e-6].status().reason.startswith(STOPPED_EARLY)


def test_runs_of_an_earlier_call_are_compared_with(spec, cluster, executor, monkeypatch, tmp_path):
    text = spec.read_text()
    other = RayExecutor(Store(tmp_path / "runs"), address=cluster.address)
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    words = ["--executor", "ray", "--address", cluster.address]
    good, both = tmp_path / "good.toml", tmp_path / "both.toml"
    good.write_text(text.replace("[1.0, 1e-6]", "1.0"))
    both.write_text(text)
    assert run_command(["sweep", str(good), *words]) == 0
    assert run_command(["sweep", str(both), *words]) == 0
    check_that_the_bad_rate_was_stopped(behind(other.store))


def test_shared_storage(cluster, executor, small, tmp_path):
    """Nodes write the run themselves; it counts as active when its node is dead, and ends the same elsewhere."""
    store = Store(tmp_path / "runs")
    shared = RayExecutor(store, resources=ClusterResources(shared=True))
    long = replace(small, training=replace(small.training, steps=400, snapshot_every=20, evaluate_every=200))
    run = shared.submit(long)
    wait(lambda: run.status().saved_step)
    (node,) = [one for one in shared.describe_cluster()["nodes"] if run.id in one["runs"]]
    own = next(one for one in cluster.list_all_nodes() if one.node_id.startswith(node["id"]))
    cluster.remove_node(own, allow_graceful=False)
    assert run.status().state in ("running", "queued")
    start_node(cluster, **NODE)
    assert over(run).state == "finished", run.status().reason
    same_prompt(run, trained_here(Store(tmp_path / "local"), long))
    sent = wait(lambda: ray.get(shared.collector.sent_by.remote(run.id)))
    assert sent["messages"] == 0, "the nodes wrote the run themselves"
    stopped = shared.submit(replace(long, training=replace(long.training, seed=3)))
    wait(lambda: stopped.status().saved_step)
    shared.stop(stopped.id)
    assert over(stopped).reason.startswith("stopped by you at step")
    shared.resume(stopped.id)
    assert over(stopped).state == "finished"


def test_attach_follows_the_runs_of_a_command_that_died(cluster, small, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    other = RayExecutor(Store(), address=cluster.address)
    run = other.submit(replace(small, training=replace(small.training, steps=100)))
    assert run_command(["attach", "--address", cluster.address, "--no-wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == [run.id]
    assert run_command(["attach", "--address", cluster.address]) == 0
    assert run.status().state == "finished"
    assert "1 unfinished run," in capsys.readouterr().err


def test_compare_trains_on_the_cluster(cluster, small, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    words = ["--methods", "prompt-tuning,smop", "--seeds", "1", "--steps", "4", "--backbone", "tiny-encoder", "--task"]
    remote = ["--executor", "ray", "--address", cluster.address, "--json"]
    assert run_command(["compare", *words, small.task, *remote]) == 0
    first = json.loads(capsys.readouterr().out)["runs"]
    assert len(first) == 2
    assert run_command(["compare", *words, small.task, *remote]) == 0
    again = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["run"], run["reused"]) for run in again] == [(run["run"], True) for run in first]


def test_findings_train_on_the_cluster(cluster, small, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    arms = tuple(Arm(name, "prompt-tuning", (ArmSetting({"m": m}),)) for name, m in (("two", 2), ("four", 4)))
    study = ReplicationStudy(
        "small", "Four beat two.", "A test", "https://example.org", arms, (Comparison("four", "two"),), small.task,
        "tiny-encoder", steps=4,
    )  # fmt: skip
    monkeypatch.setattr("ptviz.experiments.replication.STUDIES", (study,))
    words = ["findings", "--run", "small", "--seeds", "2", "--executor", "ray", "--address", cluster.address, "--json"]
    assert run_command(words) == 0
    found = json.loads(capsys.readouterr().out)[0]
    assert [len(arm["values"]) for arm in found["arms"]] == [2, 2]
    store = Store()
    assert {cluster_resources(store.root / run.id) is not None for run in store.list()} == {True}
    assert run_command([*words[:3], "--json"]) == 0, "the record has all of it: nothing is trained"
