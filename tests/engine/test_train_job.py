"""One run with a replacement for the training: how runs begin, end, resume and fail."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ptviz.engine.loaded_prompt import select_state
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.predictions import add_zero_shot, make_missing_predictions
from ptviz.engine.train_job import execute_run, train_run
from ptviz.runs import Run, RunConfig, RunWriter, Status, Store, StoreError
from ptviz.runs import failure_messages as reasons_module
from ptviz.runs.failure_messages import oom_kill_count
from ptviz.runs.prediction_files import MAX_ATTEMPTS, lacks_predictions, read_predictions_error
from ptviz.runs.prepare_resume import plan_extension, prepare_resume
from ptviz.runs.run_file_io import AppendOnlyFile, DiskFullError
from ptviz.runs.snapshots import find_whole_state, read_tensors, write_resume_state
from ptviz.runs.writer import mark_if_dead
from ptviz.training import Baselines, Evaluated, Event, Snapshot, StageStarted, StepCompleted, TrainingError


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def files(run: Run) -> set[str]:
    return {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}


def until(step: int) -> dict[str, Any]:
    """Return callbacks that stop a run right after a step."""
    steps = []

    def on_event(event: Event) -> None:
        if isinstance(event, StepCompleted):
            steps.append(event.step)

    return {"on_event": on_event, "should_stop": lambda: "enough" if step in steps else None}


def test_a_run_from_start_to_end(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run, events = store.create(config), []
    execute_run(run.path, model_cache, on_event=events.append)
    status = run.status()
    assert (status.state, status.reason, status.step, status.steps) == ("finished", "all steps done", 30, 30)
    assert (status.accuracy, status.test, status.zero_shot, status.majority) == (0.9, 0.8, 0.6, 0.5)
    assert files(run) == {
        "config.json", "environment.json", "events.jsonl", "status.json", "lock", "predictions.parquet",
        "prompt.safetensors", "resume.safetensors", *(f"snapshots/0-{n:06d}.safetensors" for n in range(0, 31, 5)),
    }  # fmt: skip
    assert run.events()[0] == [event for event in events if not isinstance(event, Snapshot)]
    assert [(info.stage, info.step) for info in run.snapshots()] == [(0, n) for n in range(0, 31, 5)]
    last = [event for event in events if isinstance(event, Snapshot)][-1]
    assert same(run.snapshot(0, 30), dict(last.method))
    assert same(run.prompt(), {"P": last.resume["best/P"]})
    resume = run.resume_point()
    assert resume is not None
    assert same(dict(resume.method), dict(last.method))
    assert same(dict(resume.resume), dict(last.resume))
    assert resume.progress == last.progress
    curve = run.history()
    assert curve.steps.tolist() == list(range(30))
    assert curve.baselines == Baselines(0.5, 0.6, 0.7)
    assert curve.best_evaluation is not None
    assert curve.best_evaluation.accuracy == 0.9


def test_headers_name_the_axes(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    for name in ("snapshots/0-000005.safetensors", "prompt.safetensors", "resume.safetensors"):
        head = read_tensors(run.path / name)[1]
        assert json.loads(head["axes"]) == {"P": ["m", "d"]}
        assert head["stage"] == "0"
    assert read_tensors(run.path / "prompt.safetensors")[1]["step"] == "30"


def test_the_environment_is_written(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    assert run.environment() == {}
    execute_run(run.path, model_cache)
    facts = run.environment()
    assert facts["torch"] == torch.__version__
    assert {"ptviz", "python", "transformers", "platform", "cpus", "threads", "device", "seed", "commit"} <= set(facts)


def test_a_resumed_run_keeps_the_type_that_was_measured(
    store: Store, config: RunConfig, model_cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, or a lost measurement, may choose another type, and the run would not repeat its numbers."""
    wanted: list[str] = []

    def load(name: str, device: str | None, dtype: str) -> SimpleNamespace:
        wanted.append(dtype)
        return SimpleNamespace(
            name=name, device=torch.device("cpu"), dtype=torch.bfloat16, dtype_reason="bfloat16: faster"
        )

    cache = ModelCache(replace(model_cache.backend, load_backbone=load))
    run = store.create(replace(config, training=replace(config.training, dtype="auto")))
    execute_run(run.path, cache, **until(12))
    assert run.environment()["dtype_choice"] == "bfloat16: faster"
    execute_run(run.path, cache)
    assert run.status().state == "finished"
    assert wanted[:2] == ["auto", "bfloat16"]


def test_the_metric_of_the_task_is_recorded(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    task = replace(model_cache.backend.load_task(config), metric="macro-f1")
    model_cache.backend = replace(model_cache.backend, load_task=lambda config: task)
    run = store.create(config)
    assert run.metric.name == store.list()[0].metric.name == "accuracy"
    execute_run(run.path, model_cache)
    assert run.metric.name == store.list()[0].metric.name == "macro-f1"


class Predict:
    """A stand-in for predicting, which fails as often as it should."""

    def __init__(self, model_cache: ModelCache, failures: int) -> None:
        self.real, self.failures, self.calls = model_cache.backend.predict, failures, 0

    def __call__(self, *arguments: Any) -> torch.Tensor:
        self.calls += 1
        if self.calls <= self.failures:
            raise ValueError("text 1: expected some words, got none")
        return self.real(*arguments)


def test_a_finished_run_has_its_predictions(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    """Whenever the status says "finished", also for one that looks at the folder all the time."""
    run, seen = store.create(config), []

    def look(*arguments: Any) -> torch.Tensor:
        seen.append(run.status().state)
        return model_cache.backend.predict(*arguments)

    watched = ModelCache(replace(model_cache.backend, predict=look))
    execute_run(run.path, watched, on_event=lambda event: seen.append((event.kind, run.predictions() is not None)))
    assert ("finished", True) in seen
    assert seen.count("running") == 2, "with the prompt and without it"
    assert "finished" not in seen


def test_a_stop_while_predictions_are_made_is_resumed(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    whole, run = store.create(config), store.create(config)
    execute_run(whole.path, model_cache)

    def press(*arguments: Any) -> torch.Tensor:
        (run.path / "stop").touch()
        return model_cache.backend.predict(*arguments)

    execute_run(run.path, ModelCache(replace(model_cache.backend, predict=press)))
    assert run.status().state == "stopped"
    assert run.predictions() is None
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert same(run.prompt(), whole.prompt())
    assert run.predictions().equals(whole.predictions())  # type: ignore[union-attr]


def test_a_full_disk_while_predictions_are_written_is_resumed(
    store: Store, config: RunConfig, model_cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(config)

    def full(folder: Path, table: bytes) -> None:
        raise DiskFullError("the disk is full")

    monkeypatch.setattr("ptviz.runs.prediction_files.write_predictions", full)
    execute_run(run.path, model_cache)
    assert (run.status().state, run.status().reason) == ("failed", "the disk is full")
    monkeypatch.undo()
    prepare_resume(run)
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert run.predictions() is not None


def test_predictions_that_fail_do_not_fail_the_run_and_are_made_later(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run, predict = store.create(config), Predict(model_cache, failures=2)
    cache = ModelCache(replace(model_cache.backend, predict=predict))
    execute_run(run.path, cache)
    assert run.status().state == "finished"
    assert run.predictions() is None
    assert read_predictions_error(run.path) == (1, "text 1: expected some words, got none")
    for attempts in (2, 0):
        assert lacks_predictions(run.path)
        list(make_missing_predictions(run, cache))
        assert read_predictions_error(run.path).attempts == attempts
    assert run.predictions() is not None
    assert not lacks_predictions(run.path)
    assert "predictions-error.json" not in files(run)
    list(make_missing_predictions(run, cache))
    assert predict.calls == 4, "two in vain, then with the prompt and without it"


def test_predictions_are_not_made_on_a_table_that_was_changed(
    store: Store, config: RunConfig, model_cache: ModelCache, tmp_path: Path
) -> None:
    own = tmp_path / "t.csv"
    own.write_text("text,label\ngood,yes\nbad,no\n")
    run = store.create(replace(config, task=str(own)))
    execute_run(run.path, model_cache)
    (run.path / "predictions.parquet").unlink()
    rows = own.read_text()
    own.write_text(rows.replace("good", "fine"))
    list(make_missing_predictions(run, model_cache))
    assert run.predictions() is None
    assert "t.csv has changed since. Restore the old content" in read_predictions_error(run.path).reason
    own.write_text(rows)
    list(make_missing_predictions(run, model_cache))
    assert run.predictions() is not None


def test_the_attempts_to_make_predictions_end(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run, predict = store.create(config), Predict(model_cache, failures=100)
    cache = ModelCache(replace(model_cache.backend, predict=predict))
    execute_run(run.path, cache)
    for _ in range(5):
        list(make_missing_predictions(run, cache))
    assert predict.calls == MAX_ATTEMPTS
    prepare_resume(run, 5)
    execute_run(run.path, model_cache)
    assert run.predictions() is not None, "a run that is trained further begins again"


def test_an_attempt_that_kills_the_worker_counts(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    (run.path / "predictions.parquet").unlink()
    pieces = make_missing_predictions(run, model_cache)
    next(pieces)
    pieces.close()
    assert read_predictions_error(run.path) == (1, "the worker ended while it made them")


def test_answers_without_the_prompt_are_added_to_a_run_of_an_earlier_version(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    whole = run.predictions()
    assert whole is not None
    whole.drop(columns=["zero_shot", "zero_shot_confidence"]).to_parquet(run.path / "predictions.parquet", index=False)
    add_zero_shot(run, model_cache)
    assert whole.equals(run.predictions())
    other = whole.drop(columns=["zero_shot", "zero_shot_confidence"]).assign(text="another")
    other.to_parquet(run.path / "predictions.parquet", index=False)
    with pytest.raises(StoreError, match=r"the test set of run .* has changed since it was trained"):
        add_zero_shot(run, model_cache)
    (run.path / "predictions.parquet").unlink()
    with pytest.raises(StoreError, match="has no predictions yet"):
        add_zero_shot(run, model_cache)


def test_predictions_of_an_earlier_prompt_are_not_written(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    (run.path / "predictions.parquet").unlink()
    pieces = make_missing_predictions(run, model_cache)
    next(pieces)
    prepare_resume(run, 5)
    list(pieces)
    assert run.predictions() is None


def test_a_run_deleted_while_it_trains_does_not_come_back(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    for step in (0, 7, 29):
        run = store.create(config)

        def delete(event: Event, run: Run = run, step: int = step) -> None:
            if isinstance(event, StepCompleted) and event.step == step:
                shutil.rmtree(run.path)

        execute_run(run.path, model_cache, on_event=delete)
        assert list(store.root.iterdir()) == []


def test_what_is_written_while_a_run_is_deleted_goes_too(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config)

    def delete(event: Event) -> None:
        if isinstance(event, StepCompleted) and event.step == 7:
            shutil.rmtree(run.path)
            run.path.mkdir()
            (run.path / "status.json").write_text("{}")  # written between two deletions

    execute_run(run.path, model_cache, on_event=delete)
    assert list(store.root.iterdir()) == []


def test_a_run_put_back_under_its_name_is_left_alone(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run, copy = store.create(config), store.root.parent / "copy"
    shutil.copytree(run.path, copy)

    def swap(event: Event) -> None:
        if isinstance(event, StepCompleted) and event.step == 7:
            shutil.rmtree(run.path)
            copy.rename(run.path)

    execute_run(run.path, model_cache, on_event=swap)
    assert files(run) == {"config.json", "status.json"}
    assert run.status().reason == "not started yet"


def test_an_extension_is_one_write(
    store: Store, config: RunConfig, model_cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = store.create(config), store.create(config)
    for each in (whole, run):
        execute_run(each.path, model_cache)
    prepare_resume(whole, 12)
    execute_run(whole.path, model_cache)
    before = {name: (run.path / name).read_bytes() for name in files(run)}
    plan_extension(run, run.status(), 12)  # and then the process is killed
    changed = {name for name, content in before.items() if (run.path / name).read_bytes() != content}
    assert changed == {"config.json"}
    status = store.list()[0].status if store.list()[0].id == run.id else store.list()[1].status
    assert status == run.status()
    assert (status.state, status.step, status.steps) == ("stopped", 30, 42)
    assert status.reason == "extended to 42 steps; resume continues from step 30"
    prepare_resume(run)
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert run.history().steps.tolist() == list(range(42))
    assert same(run.prompt(), whole.prompt())


def test_an_extension_renews_the_patience_once(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    state = run.resume_state()
    assert state is not None
    write_resume_state(run.path / "resume.safetensors", state._replace(progress={**state.progress, "stale": 3}))
    assert run.resume_state().progress["stale"] == 3  # type: ignore[union-attr]
    prepare_resume(run, 5)
    assert run.resume_state().progress["stale"] == 0  # type: ignore[union-attr]
    execute_run(run.path, model_cache)
    state = run.resume_state()
    assert state is not None
    assert state.extensions == 1
    write_resume_state(run.path / "resume.safetensors", state._replace(progress={**state.progress, "stale": 2}))
    assert run.resume_state().progress["stale"] == 2  # type: ignore[union-attr]


def test_predictions_are_a_table(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    table = run.predictions()
    assert table is not None
    zero_shot = ["zero_shot", "zero_shot_confidence"]
    assert list(table.columns) == ["text", "label", "predicted", "p(no)", "p(yes)", *zero_shot]
    assert table["zero_shot_confidence"].eq(0.5).all()
    assert len(table) == 10
    assert table["p(no)"].add(table["p(yes)"]).round(6).eq(1).all()
    (run.path / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="is damaged"):
        run.predictions()


@pytest.mark.parametrize("when", [0, 1, 4, 5, 6, 14, 29])
def test_a_run_stops_within_a_step_and_resumes_without_repeating(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any, when: int
) -> None:
    whole, parts = store.create(config), store.create(config)
    execute_run(whole.path, model_cache)

    def press(event: Event) -> None:
        if isinstance(event, StepCompleted) and event.step == when:
            (parts.path / "stop").touch()

    execute_run(parts.path, model_cache, on_event=press)
    status = parts.status()
    assert (status.state, status.step) == ("stopped", when)
    assert status.reason.startswith(f"stopped by you at step {when}; resume ")
    assert not (parts.path / "stop").exists()
    execute_run(parts.path, model_cache)
    assert parts.status().state == "finished"
    assert same(parts.prompt(), whole.prompt())
    assert same(parts.snapshot(0, 30), whole.snapshot(0, 30))
    one, two = parts.history(), whole.history()
    assert one.losses.tolist() == two.losses.tolist()
    assert one.evaluations == two.evaluations
    assert len(model_cache.loads) == 1


def test_a_run_resumes_from_every_truncated_event_file(
    store: Store, config: RunConfig, model_cache: ModelCache, tmp_path: Path
) -> None:
    """A kill may cut the events anywhere after the last snapshot."""
    run = store.create(replace(config, training=replace(config.training, steps=12)))
    execute_run(run.path, model_cache, **until(9))
    (run.path / "events.jsonl").write_bytes((run.path / "events.jsonl").read_bytes()[:-1])
    whole = (run.path / "events.jsonl").read_bytes()
    mark = whole.rindex(b'"snapshot"')
    for size in range(whole.index(b"\n", mark) + 1, len(whole), 19):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(run.path, tmp_path / "cut")
        (tmp_path / "cut" / "events.jsonl").write_bytes(whole[:size])
        (tmp_path / "cut" / "status.json").write_bytes(
            Status("running", saved_step=5, oom_kills=oom_kill_count()).to_bytes()
        )
        cut = Run(tmp_path / "cut")
        assert cut.status().state == "stopped"
        execute_run(cut.path, model_cache)
        assert cut.status().state == "finished"
        assert cut.history().steps.tolist() == list(range(12))


def test_snapshots_after_the_resume_state_are_removed(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache, **until(12))
    (run.path / "snapshots" / "0-000025.safetensors").write_bytes(b"of another life")
    execute_run(run.path, model_cache, should_stop=lambda: "enough")
    assert [info.step for info in run.snapshots()] == [0, 5, 10]


def test_a_resume_keeps_its_baselines(store: Store, config: RunConfig, model_cache: ModelCache, training: Any) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache, **until(12))
    model_cache._baselines.clear()
    execute_run(run.path, model_cache)
    assert training.seen[-1]["baselines"] == run.history().baselines == Baselines(0.5, 0.6, 0.7)


def test_baselines_are_measured_once_for_the_same_rows(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    others = replace(config, training=replace(config.training, seed=1))
    for each in (config, replace(config, method="prompt-tuning", hyperparameters={"m": 7}), others):
        execute_run(store.create(each).path, model_cache)
    assert [seen["baselines"] is None for seen in training.seen] == [True, False, True]


def test_an_extension_continues_from_the_end(
    store: Store, config: RunConfig, longer: Callable[[int], RunConfig], model_cache: ModelCache, training: Any
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    (run.path / "config.json").write_text(json.dumps(longer(50).to_json()))
    execute_run(run.path, model_cache)
    assert run.history().steps.tolist() == list(range(50))
    assert training.seen[-1]["resume"].progress["step"] == 30
    assert run.status().state == "finished"
    assert run.status().steps == 50
    assert run.snapshots()[-1].step == 50


def test_a_run_resumes_in_this_process(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config, queued=True)
    with pytest.raises(StoreError, match="is queued: stop it first"):
        prepare_resume(run)
    execute_run(run.path, model_cache, **until(12))
    (run.path / "stop").touch()
    prepare_resume(run)
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    with pytest.raises(StoreError, match="extend it to train further"):
        prepare_resume(run)
    prepare_resume(run, 5)
    execute_run(run.path, model_cache)
    assert run.history().steps.tolist() == list(range(35))
    assert run.config.planned == (30,)


def test_a_run_that_left_the_queue_is_not_trained(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    train_run(run, model_cache, if_queued=True)
    assert run.status().reason == "not started yet"


def test_a_branch_starts_from_its_snapshot(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    start = {"P": torch.full((3, 8), 0.25)}
    run = store.create(replace(config, parent=("old-0000", 0, 10)), start=start)
    execute_run(run.path, model_cache)
    assert torch.equal(training.seen[0]["start"], start["P"])
    assert training.seen[0]["resume"] is None
    assert run.status().state == "finished"


def test_a_branch_that_does_not_fit_fails_with_a_reason(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config, start={"P": torch.zeros(4, 8)})
    execute_run(run.path, model_cache)
    assert run.status().state == "failed"
    assert run.status().reason.startswith("the snapshot does not fit Prompt Tuning with these settings")


class OutOfMemoryError(RuntimeError):
    """Named like torch's error, which needs a GPU."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingError("the loss became nan at step 17"), "the loss became nan at step 17"),
        (ValueError("m: too many"), "m: too many"),
        (MemoryError(), "out of memory. Try a smaller batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory. Try"),
        (OutOfMemoryError("CUDA out of memory."), "out of memory. Try a smaller batch"),
        (
            KeyError("what"),
            "unexpected KeyError: 'what'. See error.txt in the run's folder; resume continues from step 15",
        ),
        (TypeError(), "unexpected TypeError: no message"),
    ],
)
def test_a_failure_is_reported_and_progress_is_saved(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any, error: BaseException, reason: str
) -> None:
    training.fails[17] = error
    run = store.create(config)
    execute_run(run.path, model_cache)
    status = run.status()
    assert status.state == "failed"
    assert status.reason.startswith(reason)
    assert (status.step, status.saved_step) == (16, 15)
    assert run.history().failed is not None
    assert len(run.prompt()["P"]) == 3
    assert "Traceback" in (run.path / "error.txt").read_text()
    training.fails.clear()
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert run.history().failed is None
    assert not (run.path / "error.txt").exists()


def test_running_out_of_memory_frees_the_backbone(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    training.fails[3] = MemoryError()
    execute_run(store.create(config).path, model_cache)
    execute_run(store.create(config).path, model_cache)
    assert len(model_cache.loads) == 2


def test_a_keyboard_interrupt_stops_the_run_and_is_raised(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    training.fails[7] = KeyboardInterrupt()
    run = store.create(config)
    with pytest.raises(KeyboardInterrupt):
        execute_run(run.path, model_cache)
    assert run.status().state == "stopped"
    assert run.status().reason == "interrupted from the keyboard; resume continues from step 5"


def test_an_unloadable_task_fails_the_run(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    def missing(name: str, device: str | None, dtype: str) -> Any:
        raise ValueError("backbone 'x' is not here; run `ptviz get x`")

    broken = ModelCache(replace(model_cache.backend, load_backbone=missing))
    run = store.create(config)
    execute_run(run.path, broken)
    assert (run.status().state, run.status().reason) == ("failed", "backbone 'x' is not here; run `ptviz get x`")


def test_a_damaged_state_fails_with_a_reason_and_the_rest_stays(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache, **until(12))
    whole = (run.path / "resume.safetensors").read_bytes()
    for size in (0, 7, 100, len(whole) - 1):
        (run.path / "resume.safetensors").write_bytes(whole[:size])
        execute_run(run.path, model_cache)
        assert run.status().state == "failed"
        assert "is damaged" in run.status().reason
        assert len(run.history().steps) == 13
        assert run.snapshot(0, 10)
        assert run.prompt()
    path = run.snapshots()[0].path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match="is damaged"):
        run.snapshot(0, 0)
    with pytest.raises(StoreError, match="does not exist"):
        run.snapshot(0, 3)


def test_a_run_has_one_writer(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    with RunWriter(run), pytest.raises(StoreError, match="is being written by process"):
        execute_run(run.path, model_cache)
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"


def test_training_is_closed_when_a_run_stops(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    closed = []

    def endless(*_: Any, **__: Any) -> Iterator[Event]:
        try:
            for step in itertools.count():
                yield StepCompleted(0, step, 1.0, 0.1, 1.0, 0.1)
        finally:
            closed.append(True)

    run = store.create(config)
    execute_run(run.path, ModelCache(replace(model_cache.backend, train=endless)), **until(0))
    assert closed == [True]
    assert run.status().reason == "enough at step 0; resume starts it again"


def test_a_training_without_a_result_fails(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(
        run.path,
        ModelCache(replace(model_cache.backend, train=lambda *_, **__: iter([Evaluated(0, 0, 1.0, 0.5, True, 0.1)]))),
    )
    assert run.status().state == "failed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a real file system of 256 KiB."""
    path = tmp_path / "small"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system needs root; the same is tested with a pretended full disk")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_fails_the_run_and_all_stays_readable(
    small_disk: Path, config: RunConfig, model_cache: ModelCache
) -> None:
    store = Store(small_disk / "runs")
    other, run = store.create(config), store.create(config)
    execute_run(other.path, model_cache)

    def fill(event: Event) -> None:
        if isinstance(event, StepCompleted) and event.step == 12:
            with (small_disk / "big").open("wb", buffering=0) as file:
                while True:
                    try:
                        file.write(b"x" * 512)
                    except OSError:
                        break

    execute_run(run.path, model_cache, on_event=fill)
    status = run.status()
    assert status.state == "failed"
    assert "the disk is full" in status.reason
    assert len(run.history().steps) >= 12
    assert run.history().damaged_lines == 0
    assert other.status().state == "finished"
    assert len(store.list()) == 2
    with pytest.raises(StoreError, match="the disk is full"):
        store.create(config)
    assert [p.name for p in store.root.iterdir() if p.name.startswith(".")] == []
    (small_disk / "big").unlink()
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert run.history().steps.tolist() == list(range(30))


def test_a_disk_that_cannot_be_written_stays_readable(
    small_disk: Path, config: RunConfig, model_cache: ModelCache
) -> None:
    store = Store(small_disk / "runs")
    run = store.create(config)
    execute_run(run.path, model_cache)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store.list()[0].status.state == "finished"
    assert len(run.history()) == 30
    assert run.prompt()
    for ask in (
        lambda: store.create(config),
        lambda: execute_run(run.path, model_cache),
        lambda: store.rename(run.id, "x"),
    ):
        with pytest.raises(StoreError, match=r"is not writable \(Read-only file system\)\. Change its permissions"):
            ask()
    with pytest.raises(StoreError, match="is not writable"):
        store.delete(run.id)
    assert store.list()[0].status.state == "finished"


def test_a_pretended_full_disk(
    store: Store, config: RunConfig, model_cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    run, real = store.create(config), AppendOnlyFile.append

    def full(self: AppendOnlyFile, line: bytes) -> None:
        if b'"step": 12,' in line:
            raise reasons_error(errno.ENOSPC, self.path)
        real(self, line)

    def reasons_error(number: int, path: Path) -> StoreError:
        from ptviz.runs.run_file_io import to_store_error

        return to_store_error(OSError(number, "No space left on device"), path)

    monkeypatch.setattr(AppendOnlyFile, "append", full)
    execute_run(run.path, model_cache)
    assert run.status().state == "failed"
    assert "Free some space, then resume" in run.status().reason
    assert run.prompt()


def test_a_run_of_a_dead_worker_gets_a_final_status(store: Store, config: RunConfig, model_cache: ModelCache) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache, **until(12))
    assert not mark_if_dead(run)
    (run.path / "prompt.safetensors").unlink()
    (run.path / "status.json").write_bytes(replace(run.status(), state="running").to_bytes())
    assert mark_if_dead(run)
    assert json.loads((run.path / "status.json").read_bytes())["state"] == "stopped"
    assert (run.path / "prompt.safetensors").exists()
    assert not mark_if_dead(run)


def test_a_kill_for_memory_is_reported(store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(config)
    (run.path / "status.json").write_bytes(Status("running", saved_step=20, oom_kills=3).to_bytes())
    monkeypatch.setattr(reasons_module, "oom_kill_count", lambda: 3)
    assert run.status().state == "stopped"
    monkeypatch.setattr(reasons_module, "oom_kill_count", lambda: 4)
    assert run.status().state == "failed"
    assert run.status().reason.startswith("out of memory: the system killed the worker. Try a smaller batch")
    assert mark_if_dead(run)
    monkeypatch.undo()
    assert run.status().state == "failed"


def test_a_crash_is_reported(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    (run.path / "status.json").write_bytes(Status("running", saved_step=20, oom_kills=oom_kill_count()).to_bytes())
    (run.path / "crash.txt").write_text("Fatal Python error: Segmentation fault\n\nThread 1\n")
    assert run.status().state == "failed"
    assert run.status().reason.startswith("the worker crashed (Segmentation fault); resume continues from step 20")


def test_writing_is_cheap(
    store: Store, config: RunConfig, longer: Callable[[int], RunConfig], model_cache: ModelCache
) -> None:
    run = store.create(replace(longer(1000), training=replace(longer(1000).training, snapshot_every=10)))
    began = time.perf_counter()
    execute_run(run.path, model_cache)
    assert (time.perf_counter() - began) / 1000 < 0.01


def test_the_prompt_before_training_may_be_the_best(store: Store, config: RunConfig) -> None:
    run, first, last = store.create(config), torch.zeros(3, 8), torch.ones(3, 8)
    with RunWriter(run) as writer:
        writer.begin(None)
        writer.write_event(StageStarted(0, "tune", 20))
        writer.write_event(Evaluated(0, 0, 1.0, 0.9, True, 0.0))
        writer.write_event(Snapshot(0, 0, {"P": first}, {}, {"best_step": 0}))
        writer.write_event(Evaluated(0, 10, 1.2, 0.5, False, 1.0))
        writer.write_event(Snapshot(0, 10, {"P": last}, {"best/P": first}, {"best_step": 0}))
        writer.end("stopped", "stopped by you")
    assert torch.equal(run.prompt()["P"], first)
    assert torch.equal(run.snapshot(0, 10)["P"], last)
    assert read_tensors(run.path / "prompt.safetensors")[1]["step"] == "0", "its own step, not the last one"
    assert select_state(run, None, None)[1:] == (0, 0)


def test_the_best_prompt_of_an_earlier_stage_is_stored_as_that_stage(store: Store, config: RunConfig) -> None:
    run, first, last = store.create(config), torch.zeros(3, 8), torch.ones(3, 8)
    best = {"best_stage": 0, "best_step": 10}
    with RunWriter(run) as writer:
        writer.begin(None)
        writer.write_event(StageStarted(0, "first source", 10))
        writer.write_event(Evaluated(0, 10, 1.0, 0.9, True, 0.0))
        writer.write_event(Snapshot(0, 10, {"P": first}, {"best/P": first}, best))
        writer.write_event(StageStarted(1, "second source", 10))
        writer.write_event(Evaluated(1, 10, 1.2, 0.5, False, 1.0))
        writer.write_event(Snapshot(1, 10, {"P": last}, {"best/P": first}, best))
        assert find_whole_state(run.path, 0, 10) == (run.path / "resume.safetensors", "resume.best/")
        writer.end("stopped", "stopped by you")
    header = read_tensors(run.path / "prompt.safetensors")[1]
    assert (header["stage"], header["step"]) == ("0", "10")
    assert run.status().best_place == (0, 10)
    assert select_state(run, None, None)[1:] == (0, 10)


def test_predictions_of_an_earlier_version_have_the_new_name_of_a_column(
    store: Store, config: RunConfig, model_cache: ModelCache
) -> None:
    run = store.create(config)
    execute_run(run.path, model_cache)
    table = run.predictions()
    assert table is not None
    older = table.rename(columns={"zero_shot_confidence": "zero_shot_certainty"})
    older.to_parquet(run.path / "predictions.parquet", index=False)
    assert table.equals(run.predictions())
