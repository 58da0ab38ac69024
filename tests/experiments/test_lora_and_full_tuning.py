"""Full fine-tuning and LoRA as reference lines, on a tiny backbone."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.backbones import load_backbone
from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import lora_and_full_tuning
from ptviz.experiments.lora_and_full_tuning import Reference, get_reference, train_reference, tune
from ptviz.experiments.reference_record import (
    KINDS,
    ReferenceRecord,
    ReferenceResult,
    describe_source,
    parse_kinds,
    reference_key,
    summarise,
    used_settings,
)
from ptviz.runs import RunConfig, Store
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.file_lock import FileLock
from ptviz.runs.run_file_io import StoreError
from ptviz.tasks import TableOptions
from ptviz.training.config import TrainConfig
from ptviz.worker.background_experiments import BackgroundExperiments
from ptviz.worker.background_jobs import ReferenceJob, cancel_job, current_reference_job, submit_job

TRAINING = TrainConfig(steps=3, batch=4, seed=1, lr=0.01, validation_rows=8, test_rows=8, evaluate_every=2)
CONFIG = RunConfig("tiny-encoder", "mcid", training=TRAINING)


def changed(**settings: Any) -> RunConfig:
    return replace(CONFIG, training=replace(TRAINING, **settings))


def result_of(kind: Any, config: RunConfig, tuned: bool = False, score: float = 0.5) -> ReferenceResult:
    t = config.training
    assert t.lr is not None
    return ReferenceResult(
        kind, config.backbone, config.task, t.seed, t.steps, t.batch, t.lr, tuned, score, score, 0.5, 10, 1.0,
        "accuracy", "", used_settings(t), describe_source(config),
    )  # fmt: skip


@pytest.mark.parametrize("backbone", ["tiny-encoder", "tiny-decoder"])
def test_lora_trains_low_rank_updates_and_full_all_but_the_embeddings(backbone: str) -> None:
    whole = load_backbone(backbone)
    parts = [whole.model.get_input_embeddings(), whole.model.get_output_embeddings()]
    fixed = {id(p) for part in parts if part is not None for p in part.parameters()}
    trained = Reference(whole, "full").trainable_parameters()
    assert trained == sum(p.numel() for p in whole.model.parameters() if id(p) not in fixed)
    low = load_backbone(backbone)
    lora = Reference(low, "lora")
    updates = {name: p for name, p in lora.named_parameters() if p.requires_grad}
    assert updates
    assert all("lora_" in name and min(p.shape) <= lora_and_full_tuning.LORA_RANK for name, p in updates.items())
    assert lora.trainable_parameters() == sum(p.numel() for p in updates.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_changes_its_own_copy_only(kind: Any) -> None:
    before = load_backbone("tiny-encoder").model.state_dict()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    found, again = (train_reference(kind, CONFIG) for _ in range(2))
    assert found.test == again.test
    assert found.validation == again.validation
    after = load_backbone("tiny-encoder").model.state_dict()
    assert all(torch.equal(kept[name], after[name]) for name in kept)
    assert 0 <= found.zero_shot <= 1


def test_results_are_kept_and_a_damaged_record_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, started = tmp_path / "references.json", list[str]()
    first = get_reference(ReferenceRecord(path), "lora", CONFIG, started.append)
    monkeypatch.setattr(lora_and_full_tuning, "train_in_steps", None)  # Nothing is trained again.
    assert get_reference(ReferenceRecord(path), "lora", CONFIG, started.append) == first
    assert len(started) == 1
    assert summarise([first])[0]["mean"] == first.test
    path.write_text("[{}]")
    with pytest.raises(StoreError, match="damaged"):
        ReferenceRecord(path)


OTHER_VALUES = {
    "optimiser": "adafactor", "schedule": "cosine", "warmup": 0.5, "weight_decay": 0.1, "dtype": "bfloat16",
    "backbone_dropout": "on", "lr": 0.02, "clip": 0.5,
}  # fmt: skip
IGNORED = {"snapshot_every", "source_steps", "source_seed", "task_temperature", "planned_steps"}


@pytest.mark.parametrize("name", [field.name for field in fields(TrainConfig)])
def test_two_settings_never_share_a_result(name: str, tmp_path: Path) -> None:
    """A setting that a result depends on, such as the maximum length, finds no result of another value."""
    record = ReferenceRecord(tmp_path / "references.json")
    record.add(result_of("full", CONFIG))
    other = changed(**{name: OTHER_VALUES[name] if name in OTHER_VALUES else getattr(TRAINING, name) + 5})
    assert record.find("full", CONFIG) is not None
    assert (record.find("full", other) is not None) == (name in IGNORED)
    assert ReferenceRecord(record.path).find("full", CONFIG) == record.find("full", CONFIG)


def test_kind_backbone_and_task_are_part_of_the_key(tmp_path: Path) -> None:
    tables = [tmp_path / folder / "reviews.csv" for folder in ("a", "b")]
    for number, path in enumerate(tables):
        path.parent.mkdir()
        path.write_text("text,note,label\n" + f"good {number},x,yes\nbad,y,no\n" * 9)
    own = [replace(CONFIG, task=str(path)) for path in tables]
    noted = replace(own[0], text="note")
    worded = replace(own[0], table=TableOptions(words=(("yes", "great"), ("no", "poor"))))
    keys = [
        reference_key("full", one) for one in (CONFIG, replace(CONFIG, backbone="tiny-decoder"), *own, noted, worded)
    ]
    keys.append(reference_key("lora", CONFIG))
    tables[0].write_text(tables[0].read_text() + "fine,z,yes\n")
    keys.append(reference_key("full", own[0]))
    assert len(set(keys)) == len(keys) == 8
    # The method, and what only prompts have, change no reference.
    assert reference_key("full", replace(CONFIG, method="smop", hyperparameters={"m": 3}, name="x")) == keys[0]


def test_a_result_without_its_settings_is_never_reused(tmp_path: Path) -> None:
    """Records of earlier versions kept neither the maximum length nor the numbers of examples."""
    record = ReferenceRecord(tmp_path / "references.json")
    record.add(replace(result_of("full", CONFIG), settings=None))
    assert ReferenceRecord(record.path).find("full", CONFIG) is None
    assert len(ReferenceRecord(record.path).results) == 1


def test_two_processes_that_save_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (ReferenceRecord(tmp_path / "references.json") for _ in range(2))
    first.add(result_of("full", CONFIG))
    second.add(result_of("lora", CONFIG))
    assert {one.kind for one in ReferenceRecord(first.path).results} == {"full", "lora"}
    lock = FileLock(first.path.with_suffix(".lock"))
    assert lock.acquire()
    monkeypatch.setattr("ptviz.runs.file_lock._WRITE_SECONDS", 0.0)
    with pytest.raises(StoreError, match="another process"):
        first.add(result_of("full", changed(seed=2)))
    lock.release()


def test_the_worker_trains_what_a_page_asks_for(tmp_path: Path) -> None:
    store, config = Store(tmp_path / "runs"), changed(lr=None)
    worker = BackgroundExperiments(store, ModelCache())
    job = ReferenceJob.of_configs(["lora"], [config, replace(config, training=replace(config.training, seed=2))])
    submit_job(store, job)
    assert worker.run_piece()
    assert not ReferenceRecord().results, "one step at a time: requests are answered between them"
    cancel_job(store, ReferenceJob)
    assert not worker.run_piece()
    submit_job(store, job)
    while worker.run_piece():
        pass
    assert current_reference_job(store) is None
    assert {one.seed for one in ReferenceRecord().results} == {1, 2}
    assert ReferenceRecord().find("lora", config) is not None
    submit_job(store, replace(job, config={**job.config, "task": "no-such-task"}))
    while worker.run_piece():
        pass
    failed = current_reference_job(store)
    assert failed is not None
    assert "no-such-task" in failed.problem


def test_rates_are_tuned_as_those_of_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(kind: Any, config: RunConfig, tuned: bool = False) -> Any:
        assert config.training.lr is not None
        return result_of(kind, config, tuned, 1 - abs(config.training.lr - 0.004))
        yield

    monkeypatch.setattr(lora_and_full_tuning, "train_in_steps", fake)
    record = ReferenceRecord(tmp_path / "references.json")
    assert record.best_rate("lora", "tiny-encoder") == (0.001, False)
    assert tune(record, "lora", [CONFIG]) == 0.003
    assert record.best_rate("lora", "tiny-encoder") == (0.003, True)
    assert sorted(record.tuning_means("lora", "tiny-encoder")) == [0.0003, 0.001, 0.003, 0.009]


def test_kinds_that_do_not_exist_are_refused() -> None:
    assert parse_kinds("full, lora") == ("lora", "full")
    for text in ("", "adapters", "lora,adapters"):
        with pytest.raises(ValueError, match="lora or full"):
            parse_kinds(text)


def test_the_time_of_a_reference_is_that_of_the_recorded_ones(tmp_path: Path) -> None:
    record = ReferenceRecord(tmp_path / "references.json")
    assert record.estimate_seconds("full", CONFIG) is None
    steps, batch = CONFIG.training.steps, CONFIG.training.batch
    for seed, seconds in enumerate((10.0, 12.0, 50.0)):  # The median: one of them shared its machine.
        record.add(replace(result_of("full", changed(seed=seed)), seconds=seconds))
    assert record.estimate_seconds("full", CONFIG) == pytest.approx(12.0)
    assert record.estimate_seconds("full", changed(steps=3 * steps)) == pytest.approx(36.0)
    assert record.estimate_seconds("full", changed(batch=2 * batch)) == pytest.approx(24.0)
    assert record.estimate_seconds("lora", CONFIG) is None


def test_a_result_on_a_local_backbone_holds_while_its_files_do(tmp_path: Path) -> None:
    folder = tmp_path / "mymodel"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config, record = replace(CONFIG, backbone=str(folder)), ReferenceRecord(tmp_path / "references.json")
    record.add(replace(result_of("lora", config), backbone_files=backbone_digest(str(folder))))
    assert record.find("lora", config) is not None
    (folder / "config.json").write_text("[]")
    assert record.find("lora", config) is None
    record.add(result_of("lora", config))
    assert ReferenceRecord(record.path).find("lora", config) == record.results[1], "an older result has no digest"
