"""The worker as a real process, training the tiny random encoder on a small table."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.executors.local import LocalExecutor
from ptviz.plots.snippet import training_snippet
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, Store, StoreError
from ptviz.training import StepCompleted, TrainConfig
from ptviz.worker.directory import EXIT_BUSY
from tests.app_server import HANGS_SECONDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes by signal: un-skip with a Windows way")


def wait(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + HANGS_SECONDS
    while not (found := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)
    return found


def over(run: Run) -> Any:
    return wait(lambda: run.status().state not in ACTIVE_STATES and run.status())


def reached(run: Run, step: int) -> None:
    def there() -> bool:
        steps_seen = [event.step for event in run.events()[0] if isinstance(event, StepCompleted)]
        return bool(steps_seen) and max(steps_seen) >= step

    wait(there)


def end(executor: LocalExecutor) -> None:
    """Kill an executor's worker, by the id it told."""
    worker = executor.worker_info()
    if worker is not None:
        os.kill(worker.pid, signal.SIGKILL)
        wait(lambda: executor.worker_info() is None)
    wait(lambda: not executor._is_starting())


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(Store(tmp_path_factory.mktemp("root") / "runs"), exit_after=300)
    yield executor
    end(executor)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tables") / "moods.csv"
    moods = ["good,glad happy merry", "bad,sad angry cross"]
    lines = [
        f"the day was {mood.split(',')[1].split()[i % 3]} number {i},{mood[:4].strip(',')}"
        for i in range(80)
        for mood in moods
    ]
    path.write_text("\n".join(["text,label", *lines]))
    return str(path)


@pytest.fixture
def tiny(table: str) -> Callable[..., RunConfig]:
    def make(steps: int = 40, **changes: Any) -> RunConfig:
        training = TrainConfig(steps=steps, batch=4, evaluate_every=10, snapshot_every=5, length=16)
        return replace(RunConfig("tiny-encoder", table, "prompt-tuning", {"m": 4}, training), **changes)

    return make


def test_a_run_is_taken_and_finished(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    run = executor.submit(tiny())
    status = over(run)
    assert (status.state, status.step, status.reason) == ("finished", 40, "all steps done")
    assert status.test is not None
    worker = executor.worker_info()
    assert worker is not None
    assert worker.pid != os.getpid()
    assert worker.backbone == "tiny-encoder"
    wait(lambda: (worker := executor.worker_info()) is not None and worker.run is None)
    assert os.getsid(worker.pid) != os.getsid(0)
    wait(lambda: run.predictions() is not None)
    table = run.predictions()
    assert table is not None
    assert len(table) == len([row for row in table["text"] if row])
    curve = run.history()
    assert curve.finished is not None
    assert abs((table["label"] == table["predicted"]).mean() - curve.finished.test) < 1e-6


def test_the_second_run_is_trained_by_the_worker_of_the_first(
    executor: LocalExecutor, tiny: Callable[..., RunConfig]
) -> None:
    over(executor.submit(tiny(2)))
    first = executor.worker_info()
    assert over(executor.submit(tiny(3))).state == "finished"
    second = executor.worker_info()
    assert first is not None
    assert second is not None
    assert (second.pid, second.backbone) == (first.pid, "tiny-encoder"), "what it loaded is used again"


def test_stop_resume_and_predict_while_it_runs(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    run = executor.submit(tiny(100_000))
    reached(run, 20)
    answer = executor.predict(run.id, ["the day was glad", "the day was cross"])
    assert answer["classes"] == ["bad", "good"]
    assert answer["step"] >= 15
    assert answer["with"] != answer["without"]
    assert [round(sum(row), 5) for row in answer["with"] + answer["without"]] == [1.0] * 4
    assert executor.predict(run.id, ["x"], step=10)["step"] == 10
    with pytest.raises(StoreError, match="text 2 of 2: expected some words, got none"):
        executor.predict(run.id, ["fine", " "])
    with pytest.raises(StoreError, match="does not exist"):
        executor.predict(run.id, ["fine"], step=3)
    with pytest.raises(StoreError, match="stop it first"):
        executor.extend(run.id, 10)
    with pytest.raises(StoreError, match="stop it first"):
        executor.store.delete(run.id)
    executor.stop(run.id)
    assert run.status().state in ("stopping", "stopped")
    stopped = over(run)
    assert stopped.reason.startswith(
        f"stopped by you at step {stopped.step}; resume continues from step {stopped.saved_step}"
    )
    assert stopped.step - stopped.saved_step <= 5  # stopped between a step and its snapshot
    executor.stop(run.id)
    executor.resume(run.id)
    reached(run, stopped.step + 5)
    executor.stop(run.id)
    assert over(run).state == "stopped"
    executor.store.delete(run.id)


def test_the_queue_is_served_in_order_and_can_be_left(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    first = executor.submit(tiny(100_000))
    reached(first, 1)
    second, third = executor.submit(tiny(5)), executor.submit(tiny(5))
    assert [summary.id for summary in executor.store.queued_runs()] == [second.id, third.id]
    with pytest.raises(StoreError, match="is queued: stop it first"):
        executor.resume(second.id)
    with pytest.raises(StoreError, match="no prompt yet"):
        executor.predict(second.id, ["x"])
    executor.stop(second.id)
    assert second.status().reason == "stopped by you while it was queued"
    executor.stop(first.id)
    assert over(third).state == "finished"
    assert second.status().state == "stopped"
    executor.resume(second.id)
    assert over(second).state == "finished"
    with pytest.raises(StoreError, match="extend it to train further"):
        executor.resume(second.id)


def test_an_extension_and_a_branch(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    run = executor.submit(tiny(20))
    over(run)
    executor.extend(run.id, 20)
    assert over(run).state == "finished"
    curve = run.history()
    assert curve.steps.tolist() == list(range(40))
    assert run.config.training.steps == 40
    assert run.config.planned == (20,)
    rates = curve.learning_rates.tolist()
    # One step of warm-up as planned at 20 steps, and no second one; then the line of a run of 40.
    assert round(run.config.training.warmup * 40) == round(0.06 * 20) == 1
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[20] == pytest.approx(rates[1] * (40 - 20) / (40 - 1))
    with pytest.raises(ValueError, match="at least 1"):
        executor.extend(run.id, 0)
    branch = executor.branch(run.id, 0, 10, {"name": "another way", "training": replace(run.config.training, steps=10)})
    assert over(branch).state == "finished"
    assert branch.config.parent == (run.id, 0, 10)
    assert torch.equal(branch.snapshot(0, 0)["P"], run.snapshot(0, 10)["P"])
    assert branch.config.training.planned_steps == 0, "its stages share all of its steps"
    with pytest.raises(StoreError, match="does not exist"):
        executor.branch(run.id, 0, 3)
    with pytest.raises(ValueError, match="a branch keeps its parent's"):
        executor.branch(run.id, 0, 10, {"method": "smop", "hyperparameters": {}})


def test_an_early_stopped_run_can_be_extended(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    config = tiny(500)
    run = executor.submit(replace(config, training=replace(config.training, evaluate_every=1, patience=3, lr=1e-9)))
    status = over(run)
    assert status.reason == "no better validation score for a while"
    executor.extend(run.id, 10)
    assert over(run).step > status.step


def test_an_unloadable_task_fails_in_words_and_the_next_run_goes_on(
    executor: LocalExecutor, tiny: Callable[..., RunConfig]
) -> None:
    lost, good = executor.submit(tiny(task="/nowhere/lost.csv")), executor.submit(tiny(3))
    assert over(lost).state == "failed"
    assert "lost.csv: cannot be read" in over(lost).reason
    assert over(good).state == "finished"


def test_a_second_worker_leaves(executor: LocalExecutor) -> None:
    executor.ensure_worker()
    wait(executor.worker_info)
    command = [sys.executable, "-m", "ptviz.worker.process", str(executor.store.root)]
    other = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_SECONDS)
    assert other.returncode == EXIT_BUSY
    assert "another worker (process" in other.stdout


def test_a_warm_hint_loads_ahead(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    executor.preload_models(tiny(backbone="tiny-decoder"))
    wait(lambda: (worker := executor.worker_info()) is not None and worker.backbone == "tiny-decoder")


def test_relative_paths_mean_the_askers_folder(
    executor: LocalExecutor, tiny: Callable[..., RunConfig], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(table).parent)
    run = executor.submit(tiny(2, task="moods.csv"))
    assert run.config.task == table
    assert over(run).state == "finished"


def test_the_script_of_a_run_reproduces_it(
    executor: LocalExecutor, tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = executor.submit(tiny(10))
    over(run)
    branch = executor.branch(run.id, 0, 5)
    over(branch)
    monkeypatch.setenv("PTVIZ_HOME", str(executor.store.root.parent))
    for one in (run, branch):
        space: dict[str, Any] = {}
        exec(training_snippet(one.config), space)
        again = space["run"]
        assert again.id != one.id
        assert again.config == one.config.checked()
        losses = one.history().losses.tolist()
        assert losses == again.history().losses.tolist()
        assert len(losses) > 5


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(executor: LocalExecutor, tiny: Callable[..., RunConfig]) -> None:
    config = tiny(300)
    whole, run, queued = executor.submit(config), executor.submit(config), executor.submit(tiny(3))
    assert over(whole).state == "finished"
    for step in (3, 57, 211):
        reached(run, step)
        end(executor)
        status = run.status()
        assert (status.state, status.reason) == (
            "stopped",
            f"the worker was killed; resume continues from step {status.saved_step}",
        )
        assert step - 5 <= status.saved_step <= status.step + 5
        assert queued.status().state in ("queued", "finished")
        executor.resume(run.id)
    assert over(run).state == "finished"
    assert over(queued).state == "finished"
    assert run.config == whole.config
    assert torch.equal(run.prompt()["P"], whole.prompt()["P"])
    assert torch.equal(run.snapshot(0, 300)["P"], whole.snapshot(0, 300)["P"])
    assert run.history().losses.tolist() == whole.history().losses.tolist()


@pytest.mark.slow
def test_sigterm_and_retiring_end_a_worker_kindly(tmp_path: Path, tiny: Callable[..., RunConfig]) -> None:
    executor = LocalExecutor(Store(tmp_path / "runs"), exit_after=300)
    run = executor.submit(tiny(100_000))
    reached(run, 12)
    worker = executor.worker_info()
    assert worker is not None
    os.kill(worker.pid, signal.SIGTERM)
    status = over(run)
    assert status.state == "stopped"
    assert status.reason.startswith(f"the worker was asked to end at step {status.step}; resume continues from step")
    wait(lambda: executor.worker_info() is None)
    wait(lambda: not executor._is_starting())
    executor.resume(run.id)
    reached(run, status.step + 1)
    executor.request_shutdown()
    reached(run, status.step + 50)  # asked and ignored: it trains
    assert run.status().state == "running"
    executor.request_shutdown(at_once=True)
    assert over(run).state == "stopped"
    wait(lambda: executor.worker_info() is None)


def test_a_crash_in_native_code_is_told(tmp_path: Path, tiny: Callable[..., RunConfig]) -> None:
    executor = LocalExecutor(Store(tmp_path / "runs"), exit_after=300)
    run = executor.submit(tiny(100_000))
    reached(run, 12)
    worker = executor.worker_info()
    assert worker is not None
    os.kill(worker.pid, signal.SIGSEGV)
    status = over(run)
    wait(lambda: not executor._is_starting())
    assert status.state == "failed"
    assert status.reason.startswith("the worker crashed (Segmentation fault); resume continues from step")
    assert executor.store.list()[0].status.state == "failed"
    assert run.prompt()["P"].shape == (4, 32)


def test_a_worker_of_older_code_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor(Store(tmp_path / "runs"), exit_after=300)
    executor.ensure_worker()
    old = wait(lambda: (worker := executor.worker_info()) and worker.updated and worker)
    monkeypatch.setattr("ptviz.executors.local.code_modified_at", lambda: old.built + 1)
    executor.ensure_worker()
    wait(lambda: executor.worker_info() is None)
    wait(lambda: not executor._is_starting())


@pytest.mark.slow
def test_a_worker_whose_folder_is_gone_leaves(tmp_path: Path) -> None:
    executor = LocalExecutor(Store(tmp_path / "runs"), exit_after=300)
    executor.ensure_worker()
    wait(lambda: (worker := executor.worker_info()) and worker.updated)
    shutil.rmtree(executor.store.root)
    wait(lambda: not executor._is_starting())


def test_a_worker_that_cannot_start_is_told(tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    executor = LocalExecutor(Store(tmp_path / "runs"))
    run = executor.submit(config)
    assert run.status().state == "queued"
    wait(lambda: not executor._is_starting())
    executor.stop(run.id)
    with pytest.raises(StoreError, match="the worker crashed; see "):
        executor.predict(run.id, ["x"], timeout=20)


def test_a_busy_worker_is_told(tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor(Store(tmp_path / "runs"))
    run = executor.store.create(config)
    monkeypatch.setattr(executor, "ensure_worker", lambda: None)
    with pytest.raises(StoreError, match=r"did not answer within 0\.1 s"):
        executor.predict(run.id, ["x"], timeout=0.1)
