"""A run mirrored from a node to a store, without a cluster: the same bytes, whatever is lost on the way."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.engine.train_job import train_run
from ptviz.executors.run_collector import RunCollector
from ptviz.executors.run_mirror import Change, FolderMirror, apply_changes, size_of, unpack_on_node
from ptviz.executors.run_stream import Reply, RunStream, TakenOver
from ptviz.runs import Run, Store, StoreError
from ptviz.runs.placement import ClusterResources, place_on_cluster
from ptviz.runs.snapshots import read_tensors
from ptviz.runs.writer import write_status


class Cluster:
    """Nodes without Ray: each attempt trains in a folder of its own, and its changes go to a collector."""

    def __init__(self, store: Store, node: Path) -> None:
        self.collector, self.store, self.node, self.attempts = RunCollector(store), store, node, 0

    def submit(self, config: Any) -> Run:
        run = self.store.create(config)
        place_on_cluster(run.path, ClusterResources())
        write_status(run.path, run.status().with_changes(state="queued"))
        return run

    def train(self, run: Run, models: Any, dies_after: int | None = None, **stream: Any) -> None:
        """Train a run on a new node, which is lost after ``dies_after`` messages."""
        packed = self.collector.begin(run.id)
        assert packed is not None
        self.attempts += 1
        folder = self.node / str(self.attempts) / run.id
        unpack_on_node(folder, packed.files)
        sent = []

        def send(changes: Sequence[Change]) -> Reply:
            if dies_after is not None and len(sent) >= dies_after:
                raise KeyboardInterrupt  # No handler in the training catches it as the run's failure.
            sent.append(changes)
            return self.collector.receive(run.id, packed.attempt, changes)

        own = RunStream(FolderMirror(folder), send, lambda reply, block: reply, **{"interval": 0.0, **stream})
        try:
            train_run(Run(folder), models, own.on_event, own.stop_reason)
            own.finish()
        except KeyboardInterrupt:
            assert self.collector.requeue(run.id, "its node died")
        else:
            self.collector.close(run.id)


@pytest.fixture
def cluster(store: Store, tmp_path: Path) -> Cluster:
    return Cluster(store, tmp_path / "nodes")


@pytest.fixture
def local(tmp_path: Path, config, model_cache) -> Run:
    run = Store(tmp_path / "elsewhere").create(config)
    train_run(run, model_cache)
    return run


def same(one: Run, other: Run) -> None:
    names = [sorted(path.relative_to(run.path) for path in run.path.rglob("*.safetensors")) for run in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        (tensors, header), (others, other_header) = read_tensors(one.path / name), read_tensors(other.path / name)
        assert header == other_header
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensor, others[key]) for key, tensor in tensors.items()), name
    assert (one.path / "predictions.parquet").read_bytes() == (other.path / "predictions.parquet").read_bytes()
    assert one.history().steps.tolist() == other.history().steps.tolist()
    assert one.history().losses.tolist() == other.history().losses.tolist()
    assert one.status().state == other.status().state == "finished"


def test_a_collected_run_is_the_local_one_byte_by_byte(cluster, config, model_cache, local):
    run = cluster.submit(config)
    cluster.train(run, model_cache)
    same(run, local)
    node = cluster.node / "1" / run.id
    assert (run.path / "events.jsonl").read_bytes() == (node / "events.jsonl").read_bytes()
    assert cluster.collector.open_runs() == []


@pytest.mark.parametrize("deaths", [(1,), (5,), (12, 3), (30, 8, 2)])
def test_a_run_whose_nodes_die_ends_with_the_same_prompt(cluster, config, model_cache, local, deaths):
    run = cluster.submit(config)
    for count in deaths:
        cluster.train(run, model_cache, dies_after=count)
        status = run.status()
        assert status.state == "queued"
        assert "its node died; it continues from" in status.reason
    cluster.train(run, model_cache)
    same(run, local)


def test_what_a_replaced_node_sends_is_refused(cluster, config, model_cache):
    run = cluster.submit(config)
    first, second = cluster.collector.begin(run.id), cluster.collector.begin(run.id)
    change = [Change("events.jsonl", b"{}\n", 0)]
    assert cluster.collector.receive(run.id, first.attempt, change) == Reply(stale=True)
    assert not (run.path / "events.jsonl").exists()
    assert cluster.collector.receive(run.id, second.attempt, change) == Reply()
    stream = RunStream(FolderMirror(run.path), lambda changes: None, lambda handle, block: Reply(stale=True))
    (run.path / "error.txt").write_text("x")
    with pytest.raises(TakenOver):
        stream.finish()
    cluster.collector.requeue(run.id, "its node died")


def test_a_stop_reaches_the_node_and_a_resume_continues(cluster, config, model_cache, training, local):
    run = cluster.submit(config)
    training.before = lambda step: (run.path / "stop").touch() if step == 11 else None
    cluster.train(run, model_cache)
    assert (run.status().state, run.status().saved_step) == ("stopped", 10)
    assert not (run.path / "stop").exists()
    training.before = lambda step: None
    write_status(run.path, run.status().with_changes(state="queued"))
    cluster.train(run, model_cache)
    same(run, local)


def test_a_run_stopped_in_the_queue_is_not_begun(cluster, config):
    run = cluster.submit(config)
    (run.path / "stop").touch()
    assert cluster.collector.begin(run.id) is None
    assert (run.status().state, (run.path / "stop").exists()) == ("stopped", False)
    gone = cluster.submit(config)
    cluster.store.delete(gone.id)
    assert cluster.collector.begin(gone.id) is None


def test_a_failure_on_the_node_is_the_failure_of_the_run(cluster, config, model_cache, training):
    training.fails = {7: MemoryError("no memory left")}
    run = cluster.submit(config)
    cluster.train(run, model_cache)
    assert run.status().state == "failed"
    assert "memory" in run.status().reason
    assert (run.path / "error.txt").exists()


def test_a_dead_collector_leaves_runs_that_the_next_one_continues(cluster, config, model_cache, local, store):
    run = cluster.submit(config)
    cluster.train(run, model_cache, dies_after=9)
    assert cluster.collector.begin(run.id) is not None
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "st')  # It died while it wrote a line.
    cluster.collector._open.pop(run.id).lock.release()
    cluster.collector = RunCollector(store)
    assert cluster.collector.unfinished_runs() == [run.id]
    cluster.train(run, model_cache)
    same(run, local)


def test_a_slow_store_holds_the_training_back_in_bounded_memory(cluster, config, model_cache, tmp_path):
    """The node never has more under way than the bounds, and loses nothing."""
    run, waiting, most = cluster.submit(config), deque(), [0, 0]
    packed = cluster.collector.begin(run.id)
    folder = tmp_path / "slow" / run.id
    unpack_on_node(folder, packed.files)

    def send(changes: Sequence[Change]) -> int:
        waiting.append(changes)
        most[:] = max(most[0], len(waiting)), max(most[1], sum(map(size_of, waiting)))
        return len(waiting)

    def wait(handle: int, block: bool) -> Reply | None:
        if not block:
            return None  # The store is always behind.
        return cluster.collector.receive(run.id, packed.attempt, waiting.popleft())

    stream = RunStream(FolderMirror(folder), send, wait, interval=0.0, in_flight=3, max_bytes=40_000)
    train_run(Run(folder), model_cache, on_event=stream.on_event)
    stream.finish()
    cluster.collector.close(run.id)
    assert most[0] == 3
    assert most[1] <= 40_000
    assert run.status().state == "finished"
    assert (run.path / "events.jsonl").read_bytes() == (folder / "events.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["config.json", "../x", "lock", "snapshots/../config.json", "stop"])
def test_a_node_writes_only_what_training_writes(tmp_path: Path, name: str):
    (tmp_path / "snapshots").mkdir()
    with pytest.raises(StoreError, match="none that training writes"):
        apply_changes(tmp_path, [Change(name, b"x")])


def test_events_that_do_not_continue_those_there_are_refused(tmp_path: Path):
    apply_changes(tmp_path, [Change("events.jsonl", b"{}\n", 0)])
    for offset in (0, 5):
        with pytest.raises(StoreError, match="continue at byte 3"):
            apply_changes(tmp_path, [Change("events.jsonl", b"{}\n", offset)])


def test_a_run_of_the_cluster_is_not_taken_by_the_local_worker(cluster, config, store):
    from ptviz.runs.placement import cluster_resources, place_locally

    run = cluster.submit(config)
    assert cluster_resources(run.path) == ClusterResources()
    place_locally(run.path)
    assert cluster_resources(run.path) is None
    shutil.rmtree(run.path)


def test_a_busy_store_gets_fewer_and_larger_messages(monkeypatch):
    """A stand-in for the clock and for the changes: one change a tenth of a second, replies only when asked for."""
    now, sent, answered = [0.0], list[list[Change]](), [False]

    class Source:
        def __init__(self) -> None:
            self.seen = 0

        def changes(self) -> list[Change]:
            due = round(now[0] * 10)
            found = [Change("events.jsonl", b"{}\n", 3 * step) for step in range(self.seen, due)]
            self.seen = due
            return found

    def send(changes):
        sent.append(list(changes))
        return len(sent)

    monkeypatch.setattr("ptviz.executors.run_stream.time.monotonic", lambda: now[0])
    stream = RunStream(Source(), send, lambda handle, block: Reply() if answered[0] or block else None, interval=0.25)
    for _ in range(40):
        now[0] = round(now[0] + 0.1, 1)
        stream.send_if_due()
    slow = len(sent)
    answered[0] = True
    for _ in range(40):
        now[0] = round(now[0] + 0.1, 1)
        stream.send_if_due()
    stream.finish()
    quick = len(sent) - slow
    assert slow <= 5 < 12 <= quick
    assert [change.offset for changes in sent for change in changes] == [3 * step for step in range(80)]
