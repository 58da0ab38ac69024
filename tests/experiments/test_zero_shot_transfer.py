"""Measured transfer: accuracies equal ``predict``, and nothing is computed twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.listing import named_backbone_shape
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.experiments import transfer_prompts, transfer_results, zero_shot_transfer
from ptviz.experiments.transfer_results import (
    TransferScore,
    describe_damaged_entries,
    read_transfer_runs,
    save_measurement,
)
from ptviz.methods import build_method
from ptviz.plots.prompt_set import target_titles
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, Store, StoreError, saved_prompts
from ptviz.runs.file_lock import FileLock
from ptviz.runs.store import RunSummary
from ptviz.runs.target_run import TARGET_MARK
from ptviz.training import TrainConfig


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    made = []
    for name, yes, no in (("feelings", "good", "bad"), ("mail", "free", "day")):
        path = folder / f"{name}.csv"
        rows = [f"{yes} thing {i},{yes}\n{no} thing {i},{no}" for i in range(40)]
        path.write_text("text,label\n" + "\n".join(rows) + "\n")
        made.append(path)
    return made


@pytest.fixture(scope="module")
def model_cache() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def made(tables: list[Path], model_cache: ModelCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run on each table."""
    store = Store(tmp_path_factory.mktemp("made") / "runs")
    for path in tables:
        config = RunConfig("tiny-encoder", str(path), "prompt-tuning", {"m": 3}, TrainConfig(steps=2, batch=4))
        execute_run(store.create(config).path, model_cache)
    return store.root


@pytest.fixture
def trained(store: Store, made: Path) -> None:
    shutil.copytree(made, store.root)


def test_every_score_equals_predict_and_is_measured_once(store, trained, tables, model_cache, monkeypatch):
    runs = transfer_prompts.finished_runs(store, "tiny-encoder")
    tasks = transfer_prompts.target_tasks(runs)
    assert [task.name for task in tasks] == sorted(map(str, tables))
    assert zero_shot_transfer.count_missing(store, runs, tasks, 12) == 6
    cells = list(zero_shot_transfer.measure_missing(store, runs, tasks, 12, model_cache))
    assert len({cell.key for cell in cells}) == 6
    assert zero_shot_transfer.count_missing(store, runs, tasks, 12) == 0
    assert not transfer_results.is_measuring(store)
    for cell in cells:
        task = model_cache.task(RunConfig("tiny-encoder", cell.task)).subsample(99, 12, 99)
        method = None
        if cell.run != transfer_results.no_prompt_key("tiny-encoder"):
            run = store.get(cell.run)
            backbone = model_cache.backbone(run.config)
            method = model_cache.backend.build_method(run.config.checked(), backbone, model_cache.task(run.config))
            method.load_state_dict(run.prompt())
        texts = [row.text for row in task.validation]
        answers = (
            model_cache.backend.predict(method, model_cache.backbone(runs[0].config), task, texts, 64)
            .argmax(-1)
            .tolist()
        )
        right = np.mean([answer == row.label for answer, row in zip(answers, task.validation, strict=True)])
        assert cell.accuracy == pytest.approx(right)
    assert [cell for cell in zero_shot_transfer.measured_scores(Store(store.root), runs, tasks, 12).values()] == cells

    def never(*args: object) -> None:
        raise AssertionError("a cell was computed twice")

    monkeypatch.setattr(zero_shot_transfer, "evaluate", never)
    assert not list(zero_shot_transfer.measure_missing(store, runs, tasks, 12, model_cache))
    assert (
        zero_shot_transfer.count_missing(store, runs, tasks, 11) == 6
    )  # another number of rows is another measurement


def test_measuring_continues_where_it_stopped(store, trained, model_cache):
    runs = transfer_prompts.finished_runs(store)
    tasks = transfer_prompts.target_tasks(runs)
    going = zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache)
    first = [next(going), next(going)]
    assert transfer_results.is_measuring(store)
    with pytest.raises(StoreError, match="another"):
        next(zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache))
    going.close()
    assert not transfer_results.is_measuring(store)
    rest = list(zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache))
    assert len(rest) == 4
    assert not {cell.key for cell in first} & {cell.key for cell in rest}


def test_a_changed_prompt_or_table_is_measured_again(store, trained, tables, model_cache):
    runs = transfer_prompts.finished_runs(store)
    tasks = transfer_prompts.target_tasks(runs)
    list(zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache))
    one, other = (store.get(run.id).path / "prompt.safetensors" for run in runs)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    assert zero_shot_transfer.count_missing(store, runs, tasks, 5) == 2
    one.write_bytes(kept)
    assert zero_shot_transfer.count_missing(store, runs, tasks, 5) == 0
    text = tables[0].read_text()
    tables[0].write_text(text + "good thing,good\n")
    try:
        assert zero_shot_transfer.count_missing(store, runs, tasks, 5) == 3
    finally:
        tables[0].write_text(text)


def test_failures_are_reported_and_the_rest_is_measured(store, trained, model_cache):
    runs = transfer_prompts.finished_runs(store)
    (store.get(runs[0].id).path / "prompt.safetensors").write_bytes(b"cut")
    cells = list(zero_shot_transfer.measure_missing(store, runs, transfer_prompts.target_tasks(runs), 5, model_cache))
    assert [bool(cell.reason) for cell in cells].count(True) == 2
    assert {cell.run for cell in cells if cell.reason} == {runs[0].id}
    assert len(transfer_results.read_transfer_scores(store)) == 4


def test_a_damaged_record_is_refused_with_what_to_do(store, trained):
    for content in ("{", json.dumps({"cells": 3}), "{}"):
        (store.root / ".transfer.json").write_text(content)
        with pytest.raises(StoreError, match="delete it"):
            transfer_results.read_transfer_scores(store)


def test_damaged_entries_are_left_out_and_reported(store):
    good = TransferScore("a", "b", 5, 0.5, 0.7, "stamp")
    whole = {name: value for name, value in asdict(good).items() if name != "reason"}
    run = {"start": "a", "task": "b", "rows": 1, "steps": 1, "seed": 0, "evaluated": [0], "accuracies": [0.5]}
    cells = [{**whole, "run": 1}, 3, {**whole, "accuracy": 2}, {**whole, "run": "c", "reason": "x"}, whole]
    runs = [run, {}, {**run, "seed": 1, "accuracies": []}, {**run, "seed": 1, "evaluated": [], "accuracies": []}]
    path = store.root / ".transfer.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "trials": runs}))
    assert transfer_results.read_transfer_scores(store) == {good.key: good}
    assert len(read_transfer_runs(store)) == 1
    said = describe_damaged_entries(store)
    assert f"{path}: 7 entries are damaged and left out" in said
    assert "cells[0]: run: expected a text; got a whole number" in said
    save_measurement(store, replace(good, run="new"))
    assert set(transfer_results.read_transfer_scores(store)) == {good.key, ("new", "b", 5)}
    assert len(read_transfer_runs(store)) == 1
    assert describe_damaged_entries(store) == ""


def test_input_prompts(store, trained, model_cache):
    config = replace(transfer_prompts.finished_runs(store)[0].config, method="prefix-tuning", hyperparameters={"m": 3})
    execute_run(store.create(config).path, model_cache)
    sizes = named_backbone_shape("tiny-encoder")
    assert sizes is not None
    for summary in transfer_prompts.finished_runs(store):
        found = transfer_prompts.load_input_prompt(store.get(summary.id), sizes)
        if summary.config.method == "prefix-tuning":
            assert found is None
        else:
            assert found is not None
            assert found.shape == (3, 32)


def test_an_input_dependent_prompt_is_not_one_prompt():
    # ATTEMPT has a part P (m, d), yet every input gets a mixture of its own.
    sizes = BackboneShape(32, 2, 4, 8)
    for method, single in (("attempt", False), ("smop", False), ("dpt", True), ("mpt", True)):
        config = RunConfig("tiny-encoder", "trec6", method).checked()
        spec = Spec.from_sizes(32, 2, 4, 8, config.training.length, config.source_tasks())
        shapes = build_method(method, spec, config.hyperparameters).state_dict()
        state = {name: torch.rand(t.shape).to(t.dtype) for name, t in shapes.items()}
        found = transfer_prompts.load_input_prompt(
            SimpleNamespace(config=config, prompt=lambda state=state: state), sizes
        )
        assert (found is not None) == single, method
        if found is not None:
            assert found.shape[1] == 32


def test_accuracies_are_at_their_rows_and_columns(store, trained, model_cache):
    runs = transfer_prompts.finished_runs(store)
    tasks = transfer_prompts.target_tasks(runs)
    cells = {cell.key: cell for cell in zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache)}
    grid = zero_shot_transfer.accuracy_matrix(runs, tasks, cells, 5)
    assert grid.shape == (2, 3)
    assert grid[1, 0] == cells["bare:tiny-encoder", tasks[1].name, 5].accuracy
    assert grid[0, 2] == cells[runs[1].id, tasks[0].name, 5].accuracy
    del cells[runs[0].id, tasks[1].name, 5]
    assert np.isnan(zero_shot_transfer.accuracy_matrix(runs, tasks, cells, 5)).tolist() == [
        [False] * 3,
        [False, True, False],
    ]
    assert np.isnan(zero_shot_transfer.accuracy_matrix(runs, tasks, cells)).all()  # another number of rows
    assert zero_shot_transfer.accuracy_matrix([], [], {}).shape == (0, 1)


def test_more_tasks_follow_those_of_the_runs(store, trained, tables):
    runs = transfer_prompts.finished_runs(store)
    found = transfer_prompts.target_tasks(runs, [str(tables[0]), "trec6", "trec6"])
    assert [target.name for target in found] == [*sorted(map(str, tables)), "trec6"]
    assert (
        transfer_prompts.target_tasks([replace(runs[0], config=replace(runs[0].config, text="text"))])[0].text == "text"
    )


@pytest.fixture
def two_columns(store: Store, tmp_path: Path, model_cache: ModelCache) -> list[RunSummary]:
    """Finished runs on two columns of one file."""
    path = tmp_path / "t.csv"
    rows = [f"thing {i},{'good' if i % 2 else 'bad'},{'new' if i % 3 else 'old'}" for i in range(60)]
    path.write_text("text,mood,age\n" + "\n".join(rows) + "\n")
    for label in ("mood", "age"):
        config = RunConfig("tiny-encoder", str(path), "prompt-tuning", {"m": 3}, TrainConfig(steps=2, batch=4))
        execute_run(store.create(replace(config, text="text", label=label)).path, model_cache)
    return transfer_prompts.finished_runs(store)


def test_two_columns_of_one_file_are_two_tasks(store, two_columns, model_cache):
    runs = two_columns
    tasks = transfer_prompts.target_tasks(runs)
    path = runs[0].config.task
    assert [(task.name, task.label) for task in tasks] == [(path, "age"), (path, "mood")]
    names = transfer_results.task_names(tasks)
    assert [*names.values()] == [f"{path} (label {label}, text text)" for label in ("age", "mood")]
    assert target_titles(tasks) == ["t (label age, text text)", "t (label mood, text text)"]
    assert target_titles(tasks[:1]) == ["t"]
    cells = list(zero_shot_transfer.measure_missing(store, runs, tasks, 12, model_cache))
    assert len({cell.key for cell in cells}) == 6
    assert zero_shot_transfer.count_missing(store, runs, tasks, 12) == 0, "neither task erases the other's scores"
    found = zero_shot_transfer.measured_scores(store, runs, tasks, 12)
    grid = zero_shot_transfer.accuracy_matrix(runs, tasks, found, 12)
    assert grid.tolist() == [
        [found[id, task.key, 12].accuracy for id in ("bare:tiny-encoder", *(run.id for run in runs))] for task in tasks
    ]
    assert [transfer_prompts.own_task_key(run, tasks) for run in runs] == [tasks[0].key, tasks[1].key]


def test_scores_of_an_earlier_version_are_found_under_the_name_of_the_table(store, two_columns, model_cache):
    runs = two_columns
    tasks = transfer_prompts.target_tasks(runs)
    list(zero_shot_transfer.measure_missing(store, runs, tasks, 12, model_cache))
    before = zero_shot_transfer.measured_scores(store, runs, tasks, 12)
    path = store.root / ".transfer.json"
    record = json.loads(path.read_text())
    record["cells"] = [
        one | {"task": tasks[1].name} for one in record["cells"] if one["task"] == tasks[1].key
    ]  # Earlier, the second task of a file erased the first.
    path.write_text(json.dumps(record))
    assert zero_shot_transfer.count_missing(store, runs, tasks, 12) == 3
    found = zero_shot_transfer.measured_scores(store, runs, tasks, 12)
    assert found == {key: score for key, score in before.items() if key[1] == tasks[1].key}


def test_a_changed_prompt_of_several_targets_is_measured_again(store, tables, model_cache):
    config = RunConfig("tiny-encoder", str(tables[0]), "mpt", {"m": 3}, TrainConfig(steps=2, source_steps=2, batch=4))
    whole = store.create(replace(config, more_tasks=(str(tables[1]),), sources=("sms",)))
    execute_run(whole.path, model_cache)
    assert whole.status().state == "finished", whole.status().reason
    runs = [run for run in transfer_prompts.finished_runs(store) if TARGET_MARK in run.id]
    assert [run.id for run in runs] == [f"{whole.id}@feelings", f"{whole.id}@mail"]
    tasks = transfer_prompts.target_tasks(runs)
    cells = list(zero_shot_transfer.measure_missing(store, runs, tasks, 5, model_cache))
    assert [cell.reason for cell in cells] == [""] * 6
    assert zero_shot_transfer.count_missing(store, runs, tasks, 5) == 0
    prompt = whole.path / "prompt.safetensors"
    prompt.write_bytes(prompt.read_bytes()[:-1] + b"\x01")
    assert zero_shot_transfer.count_missing(store, runs, tasks, 5) == 4


def test_saved_prompts_of_one_title_stay_separate(store):
    for title in ("mine", "mine", "other"):
        saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(3, 8)}, title, "", None, {})
    found = transfer_prompts.prompts_without_backbone(store)
    assert len(found) == 3
    assert "other" in found
    assert "mine" not in found, "prompts of one title are distinguished by their ids"


def test_a_locked_record_is_detected(store, trained):
    lock = FileLock(store.root / ".transfer.lock")
    assert lock.acquire()
    assert transfer_results.is_measuring(store)
    lock.release()


def test_scores_on_a_local_backbone_hold_while_its_files_do(store: Store, tmp_path: Path) -> None:
    folder, target = tmp_path / "mymodel", transfer_results.TargetTask("mcid")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    before = transfer_results.fingerprint(store, "bare:x", target, str(folder))
    (folder / "config.json").write_text("[]")
    assert transfer_results.fingerprint(store, "bare:x", target, str(folder)) != before
    assert transfer_results.fingerprint(store, "bare:x", target, "tiny-encoder") == transfer_results.fingerprint(
        store, "bare:x", target
    )
