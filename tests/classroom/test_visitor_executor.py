"""What a visitor may start, stop and ask: by the rules, and nothing of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptviz.checkpoints.detect import open_in_process
from ptviz.classroom.visitor_executor import VisitorExecutor
from ptviz.classroom.visitor_store import VisitorStore, uploads_folder
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.source_prompt_runs import source_run_configs
from ptviz.engine.train_job import train_run
from ptviz.executors.local import LocalExecutor
from ptviz.experiments import planned_runs
from ptviz.runs import Run, RunConfig, Store, StoreError, saved_prompts
from ptviz.runs.archive import unpack_run
from ptviz.runs.import_prompt import import_checkpoint_prompt
from ptviz.training import TrainConfig
from tests.damaged_files import make_run

ANNA, BORIS = "a1" * 8, "b2" * 8
HERS = {"embeddings": torch.ones(2, 4)}


def test_a_run_by_the_rules_is_queued_and_hers(executor: VisitorExecutor, whole: Store, small: Any) -> None:
    run = executor.submit(small())
    assert [(one.id, one.annotations.owner) for one in whole.queued_runs()] == [(run.id, ANNA)]


def test_what_breaks_a_rule_is_refused_before_anything_is_queued(
    executor: VisitorExecutor, whole: Store, small: Callable[..., RunConfig]
) -> None:
    for config in (small(steps=101), small(backbone="minilm-l6"), small(task="hub:ag_news")):
        with pytest.raises(ValueError, match=r"classroom|machine"):
            executor.submit(config)
    configs = [small(seed=seed) for seed in range(4)]
    with pytest.raises(ValueError, match="you have 0 and asked for 4 more"):
        planned_runs.start_runs(executor, [planned_runs.PlannedRun(config) for config in configs])
    with pytest.raises(ValueError, match="steps"):
        planned_runs.start_runs(executor, [planned_runs.PlannedRun(one) for one in (configs[0], small(steps=101))])
    assert not whole.list()


def test_another_visitors_run_cannot_be_touched(
    executor: VisitorExecutor, boris: VisitorStore, whole: Store, small: Callable[..., RunConfig]
) -> None:
    run = boris.create(small(), queued=True)
    asks = [
        lambda: executor.stop(run.id),
        lambda: executor.resume(run.id),
        lambda: executor.extend(run.id, 1),
        lambda: executor.branch(run.id, 0, 0),
        lambda: executor.status(run.id),
        lambda: executor.ask("predict", run.id, texts=["x"]),
        lambda: executor.ask("zero-shot", run.id),
    ]
    for ask in asks:
        with pytest.raises(StoreError, match=r"^there is no run"):
            ask()
    whole.annotate(run.id, shared=True)
    for ask in (*asks[:3], asks[6]):
        with pytest.raises(StoreError, match="is not yours"):
            ask()
    assert run.status().state == "queued"


def test_a_transfer_run_leaves_the_stopped_run_of_another_visitor_alone(
    executor: VisitorExecutor, boris: VisitorStore, whole: Store, small: Callable[..., RunConfig]
) -> None:
    config = replace(small(steps=2), method="attempt", hyperparameters={"m": 3}, sources=("sms",))
    config = replace(config, training=replace(config.training, source_steps=2, batch=4))
    his = boris.create(replace(source_run_configs(config, 3)[0], name="mine"))
    before = his.status()
    run = executor.submit(config)
    train_run(run, ModelCache(), if_queued=True)
    assert run.status().state == "finished", run.status().reason
    assert his.status() == before
    assert {one.annotations.owner for one in whole.list() if one.id != his.id} == {ANNA}


def test_an_own_run_is_stopped_resumed_and_extended_within_the_rules(
    executor: VisitorExecutor, small: Callable[..., RunConfig]
) -> None:
    run = executor.submit(small())
    executor.stop(run.id)
    assert run.status().state == "stopped"
    with pytest.raises(ValueError, match="steps: expected at most 100 in this classroom; got 101"):
        executor.extend(run.id, 51)
    assert run.config.training.steps == 50
    executor.extend(run.id, 50)
    executor.stop(run.id)
    executor.resume(run.id)
    assert run.status().state == "queued"


def test_a_branch_keeps_to_the_rules(executor: VisitorExecutor, whole: Store) -> None:
    shared = make_run(whole, "shared")
    whole.annotate(shared.id, shared=True)
    info = shared.snapshots()[-1]
    with pytest.raises(ValueError, match="steps: expected at most 100 in this classroom; got 101"):
        executor.branch(shared.id, info.stage, info.step, {"training": TrainConfig(steps=101)})
    assert len(whole.list()) == 1
    made = executor.branch(shared.id, info.stage, info.step, {"training": TrainConfig(steps=100)})
    assert made.annotations().owner == ANNA


def test_an_imported_run_is_not_trained_past_the_rules(executor: VisitorExecutor, finished_bundle: Path) -> None:
    run = unpack_run(executor.store, finished_bundle)
    with pytest.raises(ValueError, match=r"classroom|machine"):
        executor.resume(run.id)
    with pytest.raises(ValueError, match=r"classroom|machine"):
        executor.extend(run.id, 1)


def test_questions_name_nothing_of_others(
    executor: VisitorExecutor, hers: Run, boris: VisitorStore, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    his = boris.create(small())
    kept = saved_prompts.save_prompt(boris.prompts_folder, HERS, "his", "tiny-encoder", None, {})
    secret = tmp_path / "secret.npy"
    secret.write_bytes(b"x")
    mix = {"kind": "mix", "share": 0.5}
    for question, reason in (
        ({"kind": "generate", "path": str(secret)}, "path: expected a file that you uploaded"),
        ({"kind": "vocabulary", "backbone": "google-bert/bert-base-uncased"}, "backbone: expected one on this machine"),
        ({"kind": "surgery", "run": hers.id, "what": "edits", "edits": [mix | {"of": "run", "id": his.id}]}, "no run"),
        ({"kind": "surgery", "run": hers.id, "what": "edits", "edits": [mix | {"of": "kept", "id": kept.id}]}, "found"),
        ({"kind": "measure", "run": f"kept:{kept.id}", "what": "lens"}, "not found"),
    ):
        with pytest.raises(StoreError, match=reason):
            executor.ask(**question)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps"):
        executor.ask("speed", config=small(steps=101).to_json())


def test_models_are_loaded_ahead_only_for_what_may_be_trained(
    executor: VisitorExecutor, small: Callable[..., RunConfig]
) -> None:
    executor.preload_models(small(backbone="google-bert/bert-base-uncased"))
    assert not executor.worker_dir.requests.take_requests()
    executor.preload_models(small())
    assert [request.kind for request in executor.worker_dir.requests.take_requests()] == ["preload"]


def test_saved_prompts_are_hers_and_the_worker_finds_them(
    executor: VisitorExecutor, hers: Run, boris: VisitorStore, whole: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: LocalExecutor, kind: str, run: str = "", **question: Any) -> dict[str, Any]:
        saved = saved_prompts.save_prompt(whole.prompts_folder, HERS, "edited", "tiny-encoder", None, {})
        return {"id": saved.id, "place": "the worker's"}

    monkeypatch.setattr(LocalExecutor, "ask", save)
    answer = executor.ask("surgery", hers.id, what="save", edits=[], title="edited")
    own = executor.store.prompts_folder
    assert [one.id for one in saved_prompts.list_saved_prompts(own)] == [answer["id"]]
    assert Path(answer["place"]) == own / answer["id"]
    for folder in (boris.prompts_folder, whole.prompts_folder):
        assert not saved_prompts.list_saved_prompts(folder)
    with pytest.raises(StoreError, match="not found"):
        saved_prompts.get_saved_prompt(boris.prompts_folder, answer["id"])
    found = saved_prompts.load_prompt_tensors(whole.prompts_folder, answer["id"])
    assert found["embeddings"].shape == (2, 4)


def test_uploads_are_in_a_folder_of_her_own(home: Path) -> None:
    assert uploads_folder(ANNA) != uploads_folder(BORIS)
    assert uploads_folder(ANNA).is_relative_to(home)


def test_a_visitor_has_a_limit_of_saved_prompts(
    executor: VisitorExecutor, anna: VisitorStore, whole: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ptviz.classroom.visitor_store.MAX_SAVED_PROMPTS", 2)
    for _ in range(2):
        anna.check_new_saved_prompt()
        saved_prompts.save_prompt(anna.prompts_folder, HERS, "mine", "", None, {})
    limit = "at most 2 saved prompts of one visitor; you have 2"
    with pytest.raises(StoreError, match=limit):
        executor.ask("surgery", make_run(anna, "finished").id, what="save", edits=[])
    np.save(tmp_path / "p.npy", np.ones((3, 8), dtype=np.float32))
    with pytest.raises(StoreError, match=limit):
        import_checkpoint_prompt(anna, tmp_path / "p.npy", open_in_process(tmp_path / "p.npy"))
    whole.check_new_saved_prompt()
