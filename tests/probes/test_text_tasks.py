"""Measurements of prompts on tasks whose answers are generated texts, or choices of each example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.probes.array_codec import decode_array
from ptviz.probes.routing_counterfactuals import score_batch
from ptviz.runs import Run, RunConfig, Store
from ptviz.training import TrainConfig, evaluate
from ptviz.worker.handlers import HandlerContext, answer_request
from tests.text_tasks import CHOICE_TASK, TEXT_TASK, offer_tasks

SETTINGS = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4, validation_rows=8, test_rows=8, lr=0.05)
MODELS = ModelCache()


@pytest.fixture
def write_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    offer_tasks(monkeypatch)
    store = Store(tmp_path / "runs")

    def make(task: str = "seer", method: str = "prompt-tuning", backbone: str = "tiny-decoder") -> Run:
        run = store.create(RunConfig(backbone, task, method, training=SETTINGS))
        execute_run(run.path, MODELS)
        assert run.status().state == "finished", run.status().reason
        return run

    return make


def ask(run: Run, kind: str, **question: object) -> dict:
    answer = answer_request(HandlerContext(Store(run.path.parent), MODELS), kind, {"run": run.id, **question})
    assert "error" not in answer, answer["error"]
    return answer


@pytest.mark.parametrize("backbone", ["tiny-decoder", "tiny-encoder-decoder"])
def test_a_text_is_right_where_greedy_decoding_writes_it(write_run: Callable[..., Run], backbone: str) -> None:
    loaded = load_run_prompt(write_run(backbone=backbone), MODELS)
    data = loaded.encode(TEXT_TASK, TEXT_TASK.train[:6])
    for index in range(len(data)):
        bare = replace(data.make_batch([index]), targets=None)
        (ids,) = generate(loaded.backbone, bare, loaded.method(bare), GenerationSettings(3))
        target = ids if index % 2 else [*ids[:-1], ids[-1] + 1]
        data.examples[index] = data.examples[index]._replace(target=tuple(target))
    for indices, batch in data.inference_batches():
        right = score_batch(data, indices, batch, loaded.method(batch))[1]
        assert right.tolist() == [index % 2 == 1 for index in indices]


def test_a_choice_is_right_where_it_scores_highest(write_run: Callable[..., Run]) -> None:
    loaded = load_run_prompt(write_run("who"), MODELS)
    data = loaded.encode(CHOICE_TASK, CHOICE_TASK.train)
    hits = 0
    for indices, batch in data.inference_batches():
        hits += int(score_batch(data, indices, batch, loaded.method(batch))[1].sum())
    assert hits / len(data) == pytest.approx(evaluate(loaded.method, data).score)


@pytest.mark.parametrize("task", ["seer", "who"])
def test_every_probe_answers(write_run: Callable[..., Run], task: str) -> None:
    run = write_run(task)
    for what in ("ranks", "saliency", "lens"):
        ask(run, "measure", what=what)
    answer = ask(run, "attention")
    weights = decode_array(answer["weights"], answer["shape"])
    assert np.isfinite(weights[:, :, -1]).all(), "the answer attends to the prompt"
    edited = ask(run, "surgery", what="edits", edits=[{"kind": "ablate", "tokens": [0, 1]}])
    assert edited["after"][0]["changed"] >= 0
    if task == "seer":
        assert {len(texts) for texts in edited["outputs"].values()} == {8}

    else:
        assert edited["outputs"] is None
    plain = ask(run, "surgery", what="edits", edits=[])
    assert plain["untouched"] == edited["untouched"]
    ask(run, "surgery", what="ablation", tokens=[0])
    ask(run, "surgery", what="importance")
    ask(run, "surgery", what="faithfulness", edits=[])
    saved = ask(run, "surgery", what="save", edits=[], title="as it is")
    assert saved["accuracy"] == pytest.approx(plain["untouched"]["accuracy"])
    routed = write_run(task, "smop")
    assert ask(routed, "measure", what="forced-routing")["labels"] == []
    assert ask(routed, "route", texts=[])["labels"] == []
