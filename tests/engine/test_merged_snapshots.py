"""Methods whose network is large: older snapshots hold the prompt that it makes, the newest and the best are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.methods import REGISTRY, build_method
from ptviz.plots.run_tensors import load_tensor_histories
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.restore_method import restore_method
from ptviz.training import TrainConfig, merged_prompt, predict
from tests.families import backbone_of, method_of

METHODS = ("prefix-tuning", "p-tuning")


@pytest.fixture(scope="module")
def cache() -> ModelCache:
    return ModelCache()


def train(
    method: str, store: Store, cache: ModelCache, monkeypatch: pytest.MonkeyPatch, table: Path, least: int
) -> Run:
    monkeypatch.setattr(merged_prompt, "MIN_BYTES", least)
    training = TrainConfig(steps=6, batch=4, evaluate_every=2, snapshot_every=1)
    run = store.create(RunConfig("tiny-encoder", str(table), method, {"m": 3}, training))
    execute_run(run.path, cache)
    assert run.status().state == "finished", run.status().reason
    return run


def assert_same(found: Any, right: Any) -> None:
    """Compare up to rounding: the same product of matrices differs by up to 2.4e-7 with where they lie in memory."""
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "questions.csv"
    rows = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("method", METHODS)
def test_older_snapshots_hold_the_prompt_alone(
    method: str, cache: ModelCache, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    whole = train(method, store, cache, monkeypatch, table, 10**9)
    run = train(method, store, cache, monkeypatch, table, 0)
    infos, best = run.snapshots(), run.status().best_step
    assert [info[:2] for info in infos] == [info[:2] for info in whole.snapshots()]
    kept = {(0, infos[-1].step), (0, best)}
    assert {info[:2] for info in run.whole_snapshots()} == kept
    assert len(whole.whole_snapshots()) == len(infos)
    sizes = [sum(info.path.stat().st_size for info in one.snapshots()) for one in (whole, run)]
    assert sizes[1] * 3 < sizes[0]

    spec = cache.backbone(run.config).make_spec(64, ("person", "place"))
    for info in infos:
        expected = whole.snapshot(info.stage, info.step)
        with torch.no_grad():  # An LSTM's kernels depend on it.
            merged = restore_method(build_method(method, spec, run.config.hyperparameters), expected).merge()
        if info[:2] in kept:
            found = run.snapshot(info.stage, info.step)
            assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
            continue
        with pytest.raises(StoreError, match=f"stored as the prompt alone.*whole are: .*{infos[-1].step}"):
            run.snapshot(info.stage, info.step)
        state = run.snapshot(info.stage, info.step, merged=True)
        shown = restore_method(build_method(method, spec, run.config.hyperparameters), state).tensors()
        assert list(shown) == list(merged.tensors())
        for tensor_name, part in merged.tensors().items():
            assert_same(shown[tensor_name].tensor, part.tensor)


@pytest.mark.parametrize("method", METHODS)
def test_what_reads_a_run_reads_its_folded_snapshots(
    method: str, cache: ModelCache, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    whole = train(method, store, cache, monkeypatch, table, 10**9)
    run = train(method, store, cache, monkeypatch, table, 0)
    old = next(info for info in run.snapshots() if info not in run.whole_snapshots())
    loaded = [load_run_prompt(one, cache, old.stage, old.step) for one in (whole, run)]
    texts = ["who wrote this", "where is it"]
    answers = [predict(one.method, one.backbone, one.task, texts, 64) for one in loaded]
    assert_same(*answers)

    histories = load_tensor_histories(run, stage=old.stage, step=old.step)
    expected = load_tensor_histories(whole, stage=old.stage, step=old.step)
    name = next(iter(expected))
    assert list(histories) == [name], "the prompt as used, under the method's own symbol"
    assert histories[name].steps == expected[name].steps
    assert_same(histories[name].values, expected[name].values)
    assert "W_1" not in histories
    newest = run.snapshots()[-1]
    assert len(load_tensor_histories(run, stage=newest.stage, step=newest.step)) == len(expected)


def test_a_branch_starts_from_a_whole_snapshot_only(
    cache: ModelCache, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalExecutor, "ensure_worker", lambda executor: None)
    store = Store()
    run = train("prefix-tuning", store, cache, monkeypatch, table, 0)
    executor = LocalExecutor(store)
    old = next(info for info in run.snapshots() if info not in run.whole_snapshots())
    with pytest.raises(StoreError, match="without the network that makes it"):
        executor.branch(run.id, old.stage, old.step)
    assert len(store.list()) == 1, "nothing is made of a branch that is refused"
    for info in run.whole_snapshots():
        start = executor.branch(run.id, info.stage, info.step).initial_state()
        assert start is not None
        assert all(torch.equal(start[name], tensor) for name, tensor in run.snapshot(info.stage, info.step).items())


@pytest.mark.parametrize("name", REGISTRY)
def test_a_small_state_is_stored_as_it_is(name: str) -> None:
    assert merged_prompt.merge_large_prompt(method_of(name, backbone_of("bert"))) == {}
