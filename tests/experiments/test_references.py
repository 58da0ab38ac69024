"""Full fine-tuning and LoRA as reference lines, on a tiny backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.backbones import load_backbone
from ptviz.experiments import references
from ptviz.experiments.references import Reference, ReferenceRecord, parse_kinds, summarise, train_reference, tune
from ptviz.runs.atomic_io import StoreError
from ptviz.tasks import load_task
from ptviz.training.config import TrainConfig

CONFIG = TrainConfig(steps=3, batch=4, seed=1, lr=0.01, validation_rows=8, test_rows=8, evaluate_every=2)


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
    assert all("lora_" in name and min(p.shape) <= references.LORA_RANK for name, p in updates.items())
    assert lora.trainable_parameters() == sum(p.numel() for p in updates.values())


@pytest.mark.parametrize("kind", references.KINDS)
def test_a_reference_changes_its_own_copy_only(kind: Any) -> None:
    task, before = load_task("mcid"), load_backbone("tiny-encoder").model.state_dict()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    found, again = (train_reference(kind, "tiny-encoder", task, CONFIG) for _ in range(2))
    assert found.test == again.test
    assert found.validation == again.validation
    after = load_backbone("tiny-encoder").model.state_dict()
    assert all(torch.equal(kept[name], after[name]) for name in kept)
    assert 0 <= found.zero_shot <= 1


def test_results_are_kept_and_a_damaged_record_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, task, started = tmp_path / "references.json", load_task("mcid"), []
    first = ReferenceRecord(path).get("lora", "tiny-encoder", task, CONFIG, started.append)
    monkeypatch.setattr(references, "train_reference", None)  # Nothing is trained again.
    assert ReferenceRecord(path).get("lora", "tiny-encoder", task, CONFIG, started.append) == first
    assert len(started) == 1
    assert summarise([first])[0]["mean"] == first.test
    path.write_text("[{}]")
    with pytest.raises(StoreError, match="damaged"):
        ReferenceRecord(path)


def test_rates_are_tuned_as_those_of_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(kind: Any, backbone: str, task: Any, config: Any, tuned: bool = False) -> references.ReferenceResult:
        score = 1 - abs(config.lr - 0.004)
        return references.ReferenceResult(
            kind, backbone, "mcid", config.seed, config.steps, config.batch, config.lr, tuned, score, score, 0.5, 10,
            1.0, "accuracy", "",
        )  # fmt: skip

    monkeypatch.setattr(references, "train_reference", fake)
    record = ReferenceRecord(tmp_path / "references.json")
    assert record.best_rate("lora", "tiny-encoder") == (0.001, False)
    assert tune(record, "lora", "tiny-encoder", [load_task("mcid")], CONFIG) == 0.003
    assert record.best_rate("lora", "tiny-encoder") == (0.003, True)
    assert sorted(record.tuning_means("lora", "tiny-encoder")) == [0.0003, 0.001, 0.003, 0.009]


def test_kinds_that_do_not_exist_are_refused() -> None:
    assert parse_kinds("full, lora") == ("lora", "full")
    for text in ("", "adapters", "lora,adapters"):
        with pytest.raises(ValueError, match="lora or full"):
            parse_kinds(text)
