"""The model cache holds the most recently used models, and frees memory before the next is loaded."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import torch
from cachetools import LRUCache

from ptviz.backbones import load_backbone
from ptviz.engine.model_cache import ModelCache, get_or_create
from ptviz.runs import RunConfig
from ptviz.tasks import TableOptions
from ptviz.training import TrainConfig


def test_the_least_recently_used_goes_before_the_next_is_made():
    cache: LRUCache[Hashable, str] = LRUCache(2)
    get_or_create(cache, "a", lambda: "A")
    get_or_create(cache, "b", lambda: "B")
    assert get_or_create(cache, "a", lambda: "made again") == "A"
    held = []

    def large() -> str:
        held.extend(cache)
        return "C"

    assert get_or_create(cache, "c", large) == "C"
    assert held == ["a"], "room is made first: two large backbones need not fit beside a third"
    assert sorted(map(str, cache)) == ["a", "c"]


def test_texts_without_a_prompt_are_those_of_runs_with_the_same_training_examples(tmp_path: Path) -> None:
    # The longest target of the training examples bounds what is generated.
    texts = tmp_path / "texts.csv"
    texts.write_text("\n".join(["text,target", *(f"say number {i},{'so ' * (i % 9)}{i}" for i in range(60))]))
    classes = tmp_path / "classes.csv"
    classes.write_text("\n".join(["text,label", *(f"thing number {i},{'yes' if i % 2 else 'no'}" for i in range(60))]))
    cache, few, many = ModelCache(), TrainConfig(train_rows=8), TrainConfig(train_rows=30)
    text = RunConfig("tiny-decoder", str(texts), training=few, text="text", table=TableOptions(target="target"))
    label = RunConfig("tiny-decoder", str(classes), training=few, text="text", label="label")
    for config in (text, label):
        cache.save_zero_shot_answers(config, ["an answer"])
        assert cache.zero_shot_answers(config) == ["an answer"]
    assert cache.zero_shot_answers(replace(text, training=many)) is None
    assert cache.zero_shot_answers(replace(label, training=many)) == ["an answer"]


def test_a_local_backbone_whose_weights_changed_is_loaded_and_measured_again(tmp_path: Path) -> None:
    folder, source = tmp_path / "mymodel", load_backbone("tiny-decoder", "cpu")
    source.model.save_pretrained(folder)
    source.tokeniser.save_pretrained(folder)
    cache, config = ModelCache(), RunConfig(str(folder), "trec6", device="cpu")
    first = cache.backbone(config)
    cache.save_zero_shot_answers(config, ["an answer"])
    assert cache.backbone(config) is first
    assert cache.zero_shot_answers(config) == ["an answer"]
    with torch.no_grad():
        source.model.get_input_embeddings().weight += 1
    source.model.save_pretrained(folder)
    second = cache.backbone(config)
    torch.testing.assert_close(second.embedding_table, source.embedding_table)
    assert not torch.equal(second.embedding_table, first.embedding_table)
    assert cache.zero_shot_answers(config) is None
