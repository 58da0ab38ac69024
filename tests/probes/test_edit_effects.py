"""Edited prompts are measured as if trained that way, and edits can be undone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from ptviz import load_backbone
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.methods import build_method
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.probes.edit_effects import MAX_ROWS, EditEvaluator, rows_per_ablation
from ptviz.prompt import Prompt
from ptviz.runs import RunConfig, Store, saved_prompts
from ptviz.tasks import Example, load_task
from ptviz.training import TrainConfig
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.importance_scores import measure_token_importance
from ptviz.worker.handlers import HandlerContext, answer_request

ABLATE = {"kind": "ablate", "tokens": [1]}
DOUBLE = {"kind": "scale", "tokens": [0], "factor": 2.0}
SNAP = {"kind": "snap", "tokens": [], "distance": "cosine"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} thing number {i},{('no', 'yes')[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))
    return path


@pytest.fixture
def store(home):
    return Store()


@pytest.fixture
def context(store):
    return HandlerContext(store, ModelCache())


def trained(store: Store, table, method: str = "prompt-tuning", **values):
    training = TrainConfig(steps=2, snapshot_every=1, evaluate_every=2, batch=4)
    values = {"m": 3, **values}
    run = store.create(RunConfig("tiny-encoder", str(table), method, values, training, text="text", label="label"))
    execute_run(run.path)
    return run


def ask(context: HandlerContext, run, what: str, step: int = 2, **more):
    body = {"run": run.id, "what": what, "stage": 0, "step": step, **more}
    return json.loads(json.dumps(answer_request(context, "surgery", body)))


def scored(context: HandlerContext, run, prompt: Prompt, slots: int = 3):
    """Evaluate the prompt on the run's validation examples as training does."""
    at = load_run_prompt(run, context.model_cache, 0, 2)
    task = subsample_task(at.task, at.config.training)
    merged = StaticPrompt(at.method.card, slots, prompt.embeddings, prompt.key_values, keep=prompt.keep)
    return evaluate(
        merged,
        EncodedExamples(at.backbone, task, task.validation[:MAX_ROWS], slots, 64),
    )


def test_each_edit_of_a_list_is_measured_and_can_be_undone(store, context, table):
    run = trained(store, table)
    untouched = ask(context, run, "edits", edits=[])
    vectors = run.snapshot(0, 2)["P"]
    assert untouched["untouched"]["loss"] == pytest.approx(scored(context, run, Prompt(vectors[None])).loss, abs=1e-5)
    assert (untouched["after"], untouched["m"], untouched["inside"]) == ([], 3, False)
    one = ask(context, run, "edits", edits=[ABLATE])
    two = ask(context, run, "edits", edits=[ABLATE, DOUBLE])
    changed = vectors.clone()
    changed[0] *= 2
    expected = scored(context, run, Prompt(changed[None], keep=torch.tensor([True, False, True])))
    assert two["after"][1]["loss"] == pytest.approx(expected.loss, abs=1e-5)
    assert two["after"][1]["accuracy"] == pytest.approx(expected.score)
    assert two["after"][0] == one["after"][0]
    assert ask(context, run, "edits", edits=[ABLATE]) == one
    assert ask(context, run, "edits", edits=[]) == untouched


def test_repeated_edits_are_cached(store, context, table, monkeypatch):
    run, passes = trained(store, table), []
    real = EditEvaluator._evaluate
    monkeypatch.setattr(EditEvaluator, "_evaluate", lambda self, edits: passes.append(edits) or real(self, edits))
    ask(context, run, "edits", edits=[ABLATE, DOUBLE])
    assert len(passes) == 2  # untouched, and the whole list: not each of its beginnings
    again = ask(context, run, "edits", edits=[ABLATE])
    ask(context, run, "edits", edits=[ABLATE, DOUBLE])
    assert len(passes) == 3
    assert again["after"][0] is not None
    ask(context, run, "edits", step=1, edits=[])
    assert len(passes) == 4  # another step is another prompt


def test_ablation_removes_one_token_at_a_time(store, context, table):
    run = trained(store, table)
    found = ask(context, run, "ablation", tokens=[0, 2])
    keep = torch.tensor([True, True, False])
    expected = scored(context, run, Prompt(run.snapshot(0, 2)["P"][None], keep=keep))
    assert found["losses"][1] == pytest.approx(expected.loss, abs=1e-5)
    assert len(found["losses"]) == len(found["accuracies"]) == 2


def test_an_ablated_key_value_token_is_removed(store, context, table):
    run = trained(store, table, "p-tuning-v2")
    values = load_run_prompt(run, context.model_cache, 0, 2).method.tensors()["KV"].tensor[:, :, None]
    without = torch.cat([values[..., :1, :], values[..., 2:, :]], -2)
    found = ask(context, run, "edits", edits=[ABLATE])
    assert found["after"][0]["loss"] == pytest.approx(scored(context, run, Prompt(None, without), 0).loss, abs=1e-5)
    assert found["inside"]
    assert found["kinds"] == ["ablate", "scale", "noise", "mix"]
    assert "vectors at the input" in ask(context, run, "importance")["error"]
    assert "snap" in ask(context, run, "faithfulness", edits=[])["error"]


def test_a_method_with_a_prompt_for_each_text(store, context, table):
    run = trained(store, table, "smop", k=2)
    found = ask(context, run, "edits", edits=[DOUBLE])
    assert found["kinds"] == ["ablate", "scale", "swap", "noise"]
    assert found["after"][0]["loss"] != found["untouched"]["loss"]
    assert len(ask(context, run, "importance")["scores"]) == 3
    assert "depends on the input" in ask(context, run, "save", edits=[], title="mine")["error"]
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == []


@torch.no_grad()
def test_shifted_words_stay_shifted(store, context, table, monkeypatch):
    monkeypatch.setattr("ptviz.training.batches.MAX_POSITIONS", 40)  # several batches, each with a shift of its own
    with torch.enable_grad():
        run = trained(store, table, "dept")
    at = load_run_prompt(run, context.model_cache, 0, 2)
    task = subsample_task(at.task, at.config.training)
    rows = EncodedExamples(at.backbone, task, task.validation[:MAX_ROWS], 3, 64)
    at.method.B.normal_()  # trained for two steps, the shift would hardly show
    evaluator = EditEvaluator(at, MAX_ROWS, None)
    assert evaluator.score().loss == pytest.approx(evaluate(at.method, rows).loss, abs=1e-5)


def test_the_faithfulness_gap_is_between_the_prompt_and_its_words(store, context, table):
    run = trained(store, table)
    found = ask(context, run, "faithfulness", edits=[], distance="L2")
    words, vectors = load_backbone("tiny-encoder").embedding_table, run.snapshot(0, 2)["P"]
    near = torch.cdist(vectors, words)
    expected = scored(context, run, Prompt(words[near.argmin(1)][None]))
    assert found["snapped"]["loss"] == pytest.approx(expected.loss, abs=1e-5)
    assert found["near"] == pytest.approx(near.amin(1).tolist(), abs=1e-4)
    assert len(found["words"]) == 3
    assert ask(context, run, "edits", edits=[SNAP])["words"] == [
        ask(context, run, "faithfulness", edits=[], distance="cosine")["words"]
    ]


def test_a_saved_prompt_records_run_and_edits(store, context, table):
    run = trained(store, table)
    saved = ask(context, run, "save", edits=[ABLATE, DOUBLE], title="cut and doubled")
    kept = saved_prompts.get_saved_prompt(store.prompts_folder, saved["id"])
    assert (kept.title, kept.backbone, kept.m, saved["m"]) == ("cut and doubled", "tiny-encoder", 2, 2)
    assert kept.origin == {"run": run.id, "stage": 0, "step": 2, "edits": [ABLATE, DOUBLE]}
    assert store.prompts_folder / kept.id == type(run.path)(saved["place"])
    vectors = saved_prompts.load_prompt_tensors(store.prompts_folder, saved["id"])["embeddings"]
    assert torch.equal(vectors, run.snapshot(0, 2)["P"][[0, 2]] * torch.tensor([[2.0], [1.0]]))
    assert saved["loss"] == pytest.approx(scored(context, run, Prompt(vectors[None]), 2).loss, abs=1e-5)


def test_another_run_or_saved_prompt_is_mixed_in(store, context, table):
    run, other = trained(store, table), trained(store, table, init="uniform")
    half = 0.5 * run.snapshot(0, 2)["P"] + 0.5 * other.prompt()["P"]
    mix = {"kind": "mix", "of": "run", "id": other.id, "share": 0.5}
    expected = scored(context, run, Prompt(half[None])).loss
    assert ask(context, run, "edits", edits=[mix])["after"][0]["loss"] == pytest.approx(expected, abs=1e-5)
    kept = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": other.prompt()["P"]}, "other", "tiny-encoder", None, {}
    )
    mix |= {"of": "kept", "id": kept.id}
    assert ask(context, run, "edits", edits=[mix])["after"][0]["loss"] == pytest.approx(expected, abs=1e-5)
    far = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": other.prompt()["P"]}, "far", "tiny-decoder", None, {}
    )
    assert "is for tiny-decoder" in ask(context, run, "edits", edits=[{**mix, "id": far.id}])["error"]
    elsewhere = store.create(replace(run.config, backbone="tiny-decoder"))
    mix |= {"of": "run", "id": elsewhere.id}
    assert "is on tiny-decoder" in ask(context, run, "edits", edits=[mix])["error"]


def test_unsupported_edits_are_refused(store, context, table):
    run = trained(store, table)
    assert "expected one of edits" in ask(context, run, "fold")["error"]
    assert "prompt tokens from 0 to 2" in ask(context, run, "edits", edits=[{"kind": "ablate", "tokens": [7]}])["error"]
    assert "error" not in ask(context, run, "edits", edits=[])


def test_many_tokens_are_measured_on_fewer_rows():
    assert (rows_per_ablation(1), rows_per_ablation(20), rows_per_ablation(40), rows_per_ablation(1000)) == (
        200,
        200,
        100,
        20,
    )


@pytest.mark.parametrize("name", ["prompt-tuning", "smop"])
def test_the_first_order_score_is_the_prompts_product_with_its_gradient(name, table):
    """dL/dgamma_i = <p_i, dL/dp_i>, its size averaged over the batches."""
    backbone, task = load_backbone("tiny-encoder"), load_task(str(table), text="text", label="label")
    method = build_method(name, backbone.make_spec(16, tuple(task.label_words)), {"m": 3}).eval()
    rows = EncodedExamples(backbone, task, [Example(f"a thing {i}", i % 2) for i in range(8)], 3, 16)
    expected = torch.zeros(3)
    for step in range(2):
        batch = rows.training_batch(step, 4, 0)
        vectors = method(batch).embeddings.detach().requires_grad_()
        backbone(batch, Prompt(vectors), rows.readout).loss.backward()
        expected += (vectors * vectors.grad).sum((0, 2)).detach().abs() / 2
    assert torch.allclose(measure_token_importance(rows, method, 4, 0, 2), expected, rtol=1e-4)
