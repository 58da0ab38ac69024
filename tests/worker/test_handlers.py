"""What the worker does for pages that look inside: words on disk, and where texts are routed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ptviz import load_backbone
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.runs import RunConfig, Store, saved_prompts
from ptviz.runs.embedding_table import cache_path, load_vocabulary, readable_token, save_vocabulary
from ptviz.tasks import Example
from ptviz.training import TrainConfig
from ptviz.worker.handlers import MAX_ROUTED_EXAMPLES, HandlerContext, answer_request


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sixty short texts of two classes."""
    path = tmp_path_factory.mktemp("table") / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} thing number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))
    return path


def ask(context: HandlerContext, kind: str, **body) -> dict[str, Any]:
    return answer_request(context, kind, body)


def trained(store: Store, table, method: str, **values):
    training = TrainConfig(steps=2, snapshot_every=1, evaluate_every=2, batch=4)
    run = store.create(RunConfig("tiny-encoder", str(table), method, values, training, text="text", label="label"))
    execute_run(run.path)
    return run


def test_the_words_on_disk_are_the_backbones(cache):
    assert load_vocabulary("tiny-encoder") is None
    backbone = load_backbone("tiny-encoder")
    place = save_vocabulary(backbone)
    found = load_vocabulary("tiny-encoder")
    assert isinstance(found.table, np.memmap)
    assert np.array_equal(found.table, backbone.embedding_table.numpy())
    assert found.shape.width == backbone.width
    assert found.tokens[5] == backbone.tokeniser.convert_ids_to_tokens(5)
    assert found.words(np.array([5]))[0] == readable_token(found.tokens[5])
    stamp = (place / "table.npy").stat().st_mtime_ns
    assert save_vocabulary(backbone) == place
    assert (place / "table.npy").stat().st_mtime_ns == stamp  # written once
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_damaged_copy_is_thrown_away(cache):
    place = save_vocabulary(load_backbone("tiny-encoder"))
    (place / "table.npy").write_bytes(b"cut short")
    assert load_vocabulary("tiny-encoder") is None
    assert not place.exists()


def test_a_folder_that_changed_has_another_place(cache, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = cache_path(str(tmp_path))
    import os

    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert cache_path(str(tmp_path)) != before


def test_a_token_is_shown_with_its_space():
    assert readable_token("Ġhello") == " hello"


def test_validation_texts_are_routed(home, table):
    store = Store()
    run = trained(store, table, "smop", m=2, k=3)
    context = HandlerContext(store, ModelCache())
    answer = json.loads(json.dumps(ask(context, "route", run=run.id, texts=[], stage=0, step=2)))
    assert "error" not in answer, answer
    weights = np.array(answer["weights"])
    assert weights.shape[1] == 3
    assert len(weights) == len(answer["texts"]) == len(answer["labels"]) <= MAX_ROUTED_EXAMPLES
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    own = ask(context, "route", run=run.id, texts=answer["texts"][:2], stage=0, step=2)
    assert np.allclose(own["weights"], weights[:2], atol=1e-5)  # in their own order, without noise
    assert own["labels"] == []


def test_a_text_of_several_fields_is_split(home, tmp_path):
    pairs = tmp_path / "pairs.csv"
    lines = [f"a cat {i},a dog {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    pairs.write_text("\n".join(["first,second,label", *lines]))
    store = Store()
    training = TrainConfig(steps=1, snapshot_every=1, evaluate_every=1, batch=4)
    run = store.create(RunConfig("tiny-encoder", str(pairs), "smop", {}, training, text="first,second", label="label"))
    execute_run(run.path)
    context = HandlerContext(store, ModelCache())
    own = ("measure", {"what": "lens", "text": "a cat"}), ("attention", {"text": "a cat"}), ("route", {"texts": ["a"]})
    for kind, question in own:
        assert "expected 2 texts, {first} | {second}" in ask(context, kind, run=run.id, **question)["error"]
    first = ask(context, "attention", run=run.id, row=0)
    assert ask(context, "attention", run=run.id, text=first["text"])["weights"] == first["weights"]


def test_what_cannot_be_routed_is_told_in_words(home, table):
    store = Store()
    run = trained(store, table, "prompt-tuning", m=2)
    answer = ask(HandlerContext(store, ModelCache()), "route", run=run.id, texts=["a"], stage=0, step=2)
    assert "has no routing" in answer["error"]
    assert "no run" in ask(HandlerContext(store, ModelCache()), "vocabulary", run="none")["error"]


def test_the_worker_keeps_the_words(home, cache, table):
    store = Store()
    run = store.create(replace(RunConfig(), backbone="tiny-encoder"))
    answer = ask(HandlerContext(store, ModelCache()), "vocabulary", run=run.id)
    assert answer == {"place": str(cache_path("tiny-encoder"))}
    assert load_vocabulary("tiny-encoder") is not None


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2"])
def test_texts_look_at_a_kept_prompt_as_at_the_run_it_came_from(tmp_path, table, method):
    store = Store(tmp_path / "runs")
    run = trained(store, table, method, m=3)
    context = HandlerContext(store, ModelCache())
    at = load_run_prompt(run, context.model_cache)
    batch = at.encode(at.task, [Example("a", 0)]).make_batch([0])
    one = saved_prompts.save_prompt(
        store.prompts_folder, saved_prompts.static_tensors(at.method(batch)), "mine", "tiny-encoder", None, {}
    )
    kept = {"run": f"kept:{one.id}", "task": str(table), "text": "a good thing"}
    of_run = ask(context, "attention", run=run.id, text="a good thing")
    of_saved = ask(context, "attention", **kept)
    assert of_saved["weights"] == of_run["weights"]
    of_saved = ask(context, "measure", what="lens", **kept)
    of_run = ask(context, "measure", what="lens", run=run.id, text="a good thing")
    assert of_saved == {name: found for name, found in of_run.items() if name not in ("stage", "step")}
    other = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.zeros(3, 8)}, "narrow", "tiny-encoder", None, {}
    )
    found = ask(context, "attention", **{**kept, "run": f"kept:{other.id}"})["error"]
    assert "expected (3, 32) for tiny-encoder; got (3, 8)" in found
    unowned = saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.zeros(3, 8)}, "whose", "", None, {})
    unknown = ask(context, "attention", **{**kept, "run": f"kept:{unowned.id}"})["error"]
    assert "the backbone of this prompt is unknown" in unknown
    assert "saved prompt 'gone' not found" in ask(context, "attention", **{**kept, "run": "kept:gone"})["error"]
