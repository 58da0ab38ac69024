"""A comparison trains only what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptviz.engine.peak_memory import PeakMemory
from ptviz.engine.train_job import execute_run, train_run
from ptviz.executors.local import LocalExecutor
from ptviz.experiments import comparison, planned_runs, run_results
from ptviz.methods import REGISTRY
from ptviz.runs import RunConfig, Store, StoreError
from ptviz.runs.archive import pack_run, unpack_run
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.environment import BACKBONE_FIELD, TABLES_FIELD
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import file_digest
from ptviz.training import default_learning_rate


class Quiet(LocalExecutor):
    def ensure_worker(self) -> None:
        """Start no process in these tests."""


@pytest.fixture
def executor(store: Store) -> Quiet:
    return Quiet(store)


def seeded(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, training=replace(config.training, seed=seed))


def test_methods_are_named_or_all():
    assert comparison.parse_methods("all") == tuple(REGISTRY)
    assert comparison.parse_methods("smop, dept,smop") == ("smop", "dept")
    for bad in ("", "nothing", "smop,nothing"):
        with pytest.raises(ValueError, match="expected `all`"):
            comparison.parse_methods(bad)


def test_the_configs_are_methods_times_seeds(config: RunConfig):
    made = comparison.make_configs(["prompt-tuning", "p-tuning-v2"], range(2), config, {"gamma": 0.5, "m": 7})
    assert [(c.method, c.training.seed) for c in made] == [
        ("prompt-tuning", 0), ("p-tuning-v2", 0), ("prompt-tuning", 1), ("p-tuning-v2", 1),
    ]  # fmt: skip
    assert made[0].hyperparameters["gamma"] == 0.5
    assert "gamma" not in made[1].hyperparameters  # it has no such hyperparameter
    assert {c.hyperparameters["m"] for c in made} == {7}
    with pytest.raises(ValueError, match="none of these methods"):
        comparison.make_configs(["p-tuning-v2"], [0], config, {"sigma": 1})


def test_equal_configs_have_one_fingerprint(config: RunConfig):
    rate = default_learning_rate(config.method, config.backbone)
    training = config.training
    equal = [
        replace(config, name="mine", device="cpu"),
        config.checked(),
        replace(config, training=replace(training, lr=rate)),
        replace(config, training=replace(training, snapshot_every=7)),
    ]
    other = [
        replace(config, hyperparameters={"m": 4}),
        replace(config, task="other"),
        replace(config, parent=("run", 0, 5)),
        *(replace(config, training=replace(training, **{k: v})) for k, v in
          {"lr": 2 * rate, "seed": 1, "batch": 8, "evaluate_every": 5}.items()),
    ]  # fmt: skip
    assert {c.training_fingerprint for c in equal} == {config.training_fingerprint}
    assert len({c.training_fingerprint for c in [config, *other]}) == 1 + len(other)


def test_finished_runs_are_reused_and_missing_ones_queued_once(config, store, model_cache, executor):
    done = store.create(config)
    execute_run(done.path, model_cache)
    configs = [config, seeded(config, 1)]
    found = planned_runs.find_runs(store, configs)
    assert [(e.run, e.state) for e in found] == [(done.id, "finished"), (None, "missing")]
    found = planned_runs.start_runs(executor, found)
    assert [e.state for e in found] == ["finished", "queued"]
    assert len(store.list()) == 2
    again = planned_runs.start_runs(executor, planned_runs.find_runs(store, configs))
    assert [e.run for e in again] == [e.run for e in found]
    assert len(store.list()) == 2
    assert not planned_runs.is_done(found)
    assert planned_runs.stop_runs(executor, found) == 1
    assert planned_runs.is_done(planned_runs.refresh(store, found))
    resumed = planned_runs.start_runs(executor, planned_runs.find_runs(store, configs))
    assert resumed[1].run == found[1].run, "a stopped run goes on; no new one is made"


def test_the_most_advanced_equal_run_is_used(config, store, model_cache):
    store.create(config, queued=True)
    done = store.create(config)
    execute_run(done.path, model_cache)
    store.create(config)
    assert planned_runs.find_runs(store, [config])[0].run == done.id


def test_a_run_at_another_default_learning_rate_is_not_reused(config, store, model_cache):
    done = store.create(config)
    execute_run(done.path, model_cache)
    facts = json.loads((done.path / "environment.json").read_text())
    (done.path / "environment.json").write_text(json.dumps(facts | {"lr": facts["lr"] * 2}))
    assert planned_runs.find_runs(store, [config])[0].state == "missing"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("text,label\ngood,yes\nbad,no\n")
    return path


@pytest.fixture
def on_table(config: RunConfig, store: Store, model_cache, own: Path) -> Run:
    """A finished run on an own table, of which other rows come later."""
    run = store.create(replace(config, task=str(own)))
    execute_run(run.path, model_cache)
    assert run.status().state == "finished", run.status().reason
    return run


def test_a_run_on_a_table_that_was_changed_is_not_reused(on_table, own, store):
    assert on_table.environment()[TABLES_FIELD] == [file_digest(own)]
    config, rows = on_table.config, own.read_text()
    assert planned_runs.find_runs(store, [config])[0].run == on_table.id
    own.write_text(rows.replace("good", "fine"))
    assert planned_runs.find_runs(store, [config])[0].state == "missing"
    own.write_text(rows)
    assert planned_runs.find_runs(store, [config])[0].run == on_table.id, "the content counts, not the time"
    own.unlink()
    assert planned_runs.find_runs(store, [config])[0].run == on_table.id, "nothing is known of a missing file"
    own.write_text("other")
    facts = on_table.environment()
    del facts[TABLES_FIELD]
    (on_table.path / "environment.json").write_text(json.dumps(facts))
    assert planned_runs.find_runs(store, [config])[0].run == on_table.id, "an older run has no digest"


def test_a_built_in_task_needs_no_digest(config, store, model_cache, own, monkeypatch):
    monkeypatch.chdir(own.parent)
    own.rename("trec6")  # A file of this name is not what the task is read from.
    run = store.create(replace(config, task="trec6"))
    execute_run(run.path, model_cache)
    assert TABLES_FIELD not in run.environment()


def test_a_run_on_a_table_that_was_changed_does_not_go_on(on_table, own, store, model_cache, executor):
    rows = own.read_text()
    own.write_text(rows.replace("good", "fine"))
    with pytest.raises(StoreError, match=r"t\.csv has changed since\. Restore the old content, or start a new run"):
        executor.extend(on_table.id, 5)
    assert (on_table.status().state, on_table.config.training.steps) == ("finished", 30)
    own.write_text(rows)
    executor.extend(on_table.id, 5)
    own.write_text(rows.replace("good", "fine"))
    train_run(on_table, model_cache)
    assert on_table.status().state == "failed", "it changed while the run was queued"
    assert "t.csv has changed since" in on_table.status().reason
    with pytest.raises(StoreError, match="has changed since"):
        executor.resume(on_table.id)
    own.write_text(rows)
    executor.resume(on_table.id)
    train_run(on_table, model_cache)
    assert on_table.status().state == "finished", on_table.status().reason


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of a backbone, which the fake engine does not read."""
    path = tmp_path / "mymodel"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_a_run_on_a_backbone_whose_files_changed_is_not_reused_and_does_not_go_on(
    config, store, model_cache, executor, folder
):
    run = store.create(replace(config, backbone=str(folder)))
    execute_run(run.path, model_cache)
    assert run.environment()[BACKBONE_FIELD] == backbone_digest(str(folder)) != ""
    weights, wanted = folder / "model.safetensors", [run.config]
    (folder / "README.md").write_text("The model is not made of this.")
    assert planned_runs.find_runs(store, wanted)[0].run == run.id
    weights.write_bytes(b"others")
    assert planned_runs.find_runs(store, wanted)[0].state == "missing"
    for go_on in (lambda: executor.extend(run.id, 5), lambda: prepare_resume(run, 5)):
        with pytest.raises(StoreError, match=r"the files in .*mymodel have changed since\. Restore the old ones, or"):
            go_on()
    weights.write_bytes(b"weights")
    executor.extend(run.id, 5)
    weights.write_bytes(b"others")
    train_run(run, model_cache)
    assert run.status().state == "failed", "it changed while the run was queued"
    assert "mymodel have changed since" in run.status().reason
    facts = run.environment()
    del facts[BACKBONE_FIELD]
    (run.path / "environment.json").write_text(json.dumps(facts))
    assert planned_runs.find_runs(store, [run.config])[0].run == run.id, "an older run has no digest"


def test_a_built_in_backbone_needs_no_digest(config, store, model_cache, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    folder.rename(folder.with_name("tiny-encoder"))  # A folder of this name is not what the backbone is read from.
    run = store.create(replace(config, backbone="tiny-encoder"))
    execute_run(run.path, model_cache)
    assert BACKBONE_FIELD not in run.environment()


def test_an_imported_run_is_reused_for_what_it_was_trained_on_only(on_table, own, store, tmp_path):
    pack_run(on_table, tmp_path / "run.zip")
    there, other = Store(tmp_path / "there"), tmp_path / "other.csv"
    other.write_text(own.read_text().replace("good", "fine"))
    backbone = on_table.config.backbone
    for task in ("trec6", str(other)):
        with pytest.raises(ValueError, match="the run was trained on"):
            unpack_run(there, tmp_path / "run.zip", backbone, task)
        assert planned_runs.find_runs(there, [replace(on_table.config, task=task)])[0].state == "missing"
    run = unpack_run(there, tmp_path / "run.zip", backbone, str(own))
    assert planned_runs.find_runs(there, [on_table.config])[0].run == run.id


def test_a_run_without_a_state_begins_anew_on_a_changed_table(config, store, own, training, model_cache, executor):
    training.fails[0] = RuntimeError("at once")
    run = store.create(replace(config, task=str(own)))
    execute_run(run.path, model_cache)
    assert (run.status().state, run.status().saved_step) == ("failed", None)
    own.write_text("text,label\nfine,yes\n")
    training.fails.clear()
    executor.resume(run.id)
    train_run(run, model_cache)
    assert run.status().state == "finished", run.status().reason
    assert run.environment()[TABLES_FIELD] == [file_digest(own)]


def test_a_deleted_run_is_missing_again(config, store):
    found = planned_runs.find_runs(store, [config, seeded(config, 1)])
    found = (replace(found[0], run=store.create(config, queued=True).id, state="queued"), found[1])
    store.delete(str(found[0].run))
    assert planned_runs.refresh(store, found)[0].state == "missing"


def test_a_result_holds_what_the_worker_wrote(config, store, model_cache):
    run = store.create(config)
    assert run_results.load_result(run) is None
    execute_run(run.path, model_cache)
    result = run_results.load_result(run)
    facts = run.environment()
    assert (result.test, result.validation, result.zero_shot) == (0.8, 0.9, 0.6)
    assert result.trained == result.stored == 3 * 8
    assert result.length == 3
    assert facts["lr"] == default_learning_rate(config.method, config.backbone)
    assert result.memory == facts["memory"]
    assert len(result.evaluated) == len(result.accuracies) > 1


def test_memory_is_the_increase_of_this_run():
    peak = PeakMemory(torch.device("cpu"))
    if peak.bytes_above_start() is None:
        pytest.skip("this system does not tell")
    block = torch.ones(64 << 18)  # 64 MiB of float32
    del block
    assert 60 << 20 < peak.bytes_above_start() < 160 << 20
    assert PeakMemory(torch.device("cpu")).bytes_above_start() < 30 << 20, "what an earlier run took does not count"
