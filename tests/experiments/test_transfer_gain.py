"""Measured gain: a run equals plain training from its initial prompt, and is trained once; the worker's jobs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.experiments import transfer_gain, transfer_prompts, transfer_results, zero_shot_transfer
from ptviz.experiments.transfer_results import SAVED_PREFIX, from_scratch_key, read_transfer_runs
from ptviz.prompt import Prompt
from ptviz.runs import RunConfig, Store, StoreError, saved_prompts
from ptviz.training import Evaluated, TrainConfig, train
from ptviz.worker import background_experiments, background_jobs

SETTING = transfer_gain.TransferGainSettings(steps=3, rows=12)
MODEL_CACHE = ModelCache()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run on each of two tables."""
    folder = tmp_path_factory.mktemp("made")
    store = Store(folder / "runs")
    for name, yes, no in (("feelings", "good", "bad"), ("mail", "free", "day")):
        rows = [f"{yes} thing {i},{yes}\n{no} thing {i},{no}" for i in range(40)]
        (folder / f"{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
        training = TrainConfig(steps=2, batch=4, lr=0.5, seed=5)
        config = RunConfig("tiny-encoder", str(folder / f"{name}.csv"), "prompt-tuning", {"m": 3}, training)
        execute_run(store.create(config).path, MODEL_CACHE)
    return store.root


@pytest.fixture
def runs(store: Store, made: Path) -> list[zero_shot_transfer.RunSummary]:
    shutil.copytree(made, store.root)
    return transfer_prompts.finished_runs(store)


def test_a_run_equals_training_from_that_prompt(store, runs):
    tasks = transfer_prompts.target_tasks(runs)
    assert (
        transfer_gain.count_missing_runs(store, runs, tasks, SETTING)
        == transfer_gain.grid_size(store, runs, tasks, SETTING)
        == 4
    )
    found = [run for run in transfer_gain.train_missing_pairs(store, runs, tasks, SETTING, MODEL_CACHE) if run]
    assert {run.start for run in found} == {from_scratch_key("tiny-encoder", 3), *(run.id for run in runs)}
    own = {run.id: run.config.task for run in runs}
    assert all(own.get(run.start) != run.task for run in found)
    backbone = MODEL_CACHE.backbone(runs[0].config)
    for run in found:
        assert not run.reason
        task = MODEL_CACHE.task(RunConfig("tiny-encoder", run.task))
        training = TrainConfig(steps=3, evaluate_every=1, validation_rows=12)
        config = RunConfig("tiny-encoder", run.task, "prompt-tuning", {"m": 3}, training).checked()
        method = MODEL_CACHE.backend.build_method(config, backbone, task)
        if run.start in own:
            method.init_from_prompt(Prompt(embeddings=store.get(run.start).prompt()["P"][None]))
        evaluations = [event for event in train(method, backbone, task, training) if isinstance(event, Evaluated)]
        assert run.evaluated == (0, 1, 2, 3) == tuple(event.step for event in evaluations)
        assert run.accuracies == tuple(event.accuracy for event in evaluations)
        assert run.seconds > 0
    # A source as it is: the first point of its run is its cell of the grid without training.
    cells = {
        cell.key: cell.accuracy for cell in zero_shot_transfer.measure_missing(store, runs, tasks, 12, MODEL_CACHE)
    }
    for run in found:
        if run.start in own:
            assert run.accuracies[0] == pytest.approx(cells[run.start, run.task, 12])
    assert list(transfer_gain.measured_runs(store, runs, tasks, SETTING).values()) == found
    assert read_transfer_runs(Store(store.root)) == {run.key: run for run in found}


def test_training_starts_at_the_source_or_from_scratch(store, runs):
    begun: list[torch.Tensor] = []

    def spy(method: Any, *rest: Any, **more: Any) -> Any:
        begun.append(method.P.detach().clone())
        return MODEL_CACHE.backend.train(method, *rest, **more)

    model_cache = ModelCache(replace(MODEL_CACHE.backend, train=spy))
    found = [
        run
        for run in transfer_gain.train_missing_pairs(
            store, runs, transfer_prompts.target_tasks(runs), SETTING, model_cache
        )
        if run
    ]
    fresh = [start for start, run in zip(begun, found, strict=True) if run.start.startswith("scratch")]
    assert torch.equal(fresh[0], fresh[1])
    for start, run in zip(begun, found, strict=True):
        if not run.start.startswith("scratch"):
            assert torch.equal(start, store.get(run.start).prompt()["P"])
            assert not torch.equal(start, fresh[0])


def test_a_prompt_of_one_column_starts_the_training_on_another_of_the_same_file(store, runs):
    path = Path(runs[0].config.task).with_name("both.csv")
    rows = [f"thing {i},{'good' if i % 2 else 'bad'},{'new' if i % 3 else 'old'}" for i in range(60)]
    path.write_text("text,mood,age\n" + "\n".join(rows) + "\n")
    both = [
        replace(run, config=replace(run.config, task=str(path), text="text", label=label))
        for run, label in zip(runs, ("age", "mood"), strict=True)
    ]
    tasks = transfer_prompts.target_tasks(both)
    found = [run for run in transfer_gain.train_missing_pairs(store, both, tasks, SETTING, MODEL_CACHE) if run]
    assert [run.reason for run in found] == [""] * 4
    assert {(run.start, run.task) for run in found if ":" not in run.start} == {
        (both[0].id, tasks[1].key),
        (both[1].id, tasks[0].key),
    }
    assert transfer_gain.count_missing_runs(store, both, tasks, SETTING) == 0
    reached, _ = transfer_gain.final_accuracies(
        store, both, tasks, transfer_gain.measured_runs(store, both, tasks, SETTING), SETTING
    )
    assert np.isnan(reached[:, :, 0]).tolist() == [[True, False], [False, True]]


def test_no_run_is_repeated_and_a_stop_loses_at_most_one(store, runs):
    tasks = transfer_prompts.target_tasks(runs)
    going = transfer_gain.train_missing_pairs(store, runs, tasks, SETTING, MODEL_CACHE)
    first = next(run for run in going if run)
    next(going)
    with pytest.raises(StoreError, match="another"):
        next(transfer_gain.train_missing_pairs(store, runs, tasks, SETTING, MODEL_CACHE))
    going.close()
    assert not transfer_results.is_measuring(store)
    rest = [run for run in transfer_gain.train_missing_pairs(store, runs, tasks, SETTING, MODEL_CACHE) if run]
    assert len(rest) == 3
    assert first.key not in {run.key for run in rest}
    assert not list(transfer_gain.train_missing_pairs(store, runs, tasks, SETTING, MODEL_CACHE))
    assert transfer_gain.count_missing_runs(store, runs, tasks, replace(SETTING, seeds=2)) == 4
    assert transfer_gain.count_missing_runs(store, runs, tasks, replace(SETTING, steps=4)) == 4
    path = store.get(runs[0].id).path / "prompt.safetensors"
    path.write_bytes((store.get(runs[1].id).path / "prompt.safetensors").read_bytes())
    assert transfer_gain.count_missing_runs(store, runs, tasks, SETTING) == 1


def test_a_saved_prompt_is_a_source_in_both_grids(store, runs):
    torch.manual_seed(0)
    one = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.randn(5, 32)}, "mine", "tiny-encoder", None, {}
    )
    saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(5, 8)}, "elsewhere", "other", None, {})
    saved_prompts.save_prompt(
        store.prompts_folder, {"key_values": torch.randn(2, 2, 4, 5, 8)}, "inner", "tiny-encoder", None, {}
    )
    found = transfer_prompts.source_prompts(store, "tiny-encoder")
    assert [source.id for source in found] == [*(run.id for run in runs), SAVED_PREFIX + one.id]
    tasks = transfer_prompts.target_tasks(found)
    assert len(tasks) == 2
    assert np.array_equal(
        transfer_prompts.load_prompt_vectors(store, found[-1]),
        saved_prompts.load_prompt_tensors(store.prompts_folder, one.id)["embeddings"].numpy(),
    )
    cells = list(zero_shot_transfer.measure_missing(store, found[-1:], tasks, 6, MODEL_CACHE))
    assert [cell.run for cell in cells] == ["bare:tiny-encoder", SAVED_PREFIX + one.id] * 2
    assert not any(cell.reason for cell in cells)
    more = [run for run in transfer_gain.train_missing_pairs(store, found[-1:], tasks, SETTING, MODEL_CACHE) if run]
    assert [run.start for run in more] == [from_scratch_key("tiny-encoder", 5), SAVED_PREFIX + one.id] * 2
    assert not any(run.reason for run in more)


def test_a_setting_is_checked():
    for name in ("steps", "seeds", "rows"):
        with pytest.raises(ValueError, match=name):
            transfer_gain.TransferGainSettings(**{name: 0})


def test_jobs_run_in_small_pieces_and_can_be_stopped(store, runs):
    worker, ids = background_experiments.BackgroundExperiments(store, MODEL_CACHE), tuple(run.id for run in runs)
    assert not worker.run_piece()
    background_jobs.submit_job(store, background_jobs.TransferJob("gain", ids, steps=2, rows=6))
    assert worker.run_piece()
    assert transfer_results.is_measuring(store)
    assert not read_transfer_runs(store)  # one step at a time: requests are answered between them
    background_jobs.cancel_job(store)
    assert not worker.run_piece()
    assert not transfer_results.is_measuring(store)
    background_jobs.submit_job(store, background_jobs.TransferJob("gain", ids, steps=2, rows=6))
    assert sum(1 for _ in islice(iter(worker.run_piece, False), 500)) < 500
    assert len(read_transfer_runs(store)) == 4
    assert background_jobs.current_job(store) is None
    background_jobs.submit_job(store, background_jobs.TransferJob("zero-shot", ids, rows=6))
    while worker.run_piece():
        pass
    assert len(transfer_results.read_transfer_scores(store)) == 6


def test_a_job_that_fails_ends_with_a_reason(store, runs):
    (store.get(runs[0].id).path / "prompt.safetensors").write_bytes(b"cut")
    worker = background_experiments.BackgroundExperiments(store, MODEL_CACHE)
    background_jobs.submit_job(store, background_jobs.TransferJob("zero-shot", tuple(run.id for run in runs), rows=6))
    while worker.run_piece():
        pass
    job = background_jobs.current_job(store)
    assert job is not None
    assert "2 could not be measured" in job.problem
    assert not background_experiments.BackgroundExperiments(
        store, MODEL_CACHE
    ).run_piece()  # nor does a new worker try it again by itself
